package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error is one thing wrong with a scenario file.
type Error struct {
	File         string
	Line, Column int    // from 1, the column in characters
	Length       int    // characters to underline
	Msg          string // lower case, no full stop: `unknown fault verb "kil"`
	Nearest      string // the nearest valid word, or ""
	Expected     string // what may stand there, or ""
	Source       string // the text of the line
	Above        string // the text of the line above it, or ""
}

// Wrong makes an error about a line of the scenario; what is about the whole file is on its first.
func (s *Scenario) Wrong(line int, msg string) *Error {
	line = max(line, 1)
	e := &Error{File: s.File, Line: line, Column: 1, Length: 1, Msg: msg}
	if lines := strings.Split(string(s.Source), "\n"); line <= len(lines) {
		text := strings.TrimRight(lines[line-1], "\r")
		body := strings.TrimLeft(text, " -")
		e.Source, e.Column = text, len(text)-len(body)+1
		e.Length = max(utf8.RuneCountInString(body), 1)
	}
	return e
}

// Error returns `file:line:column: message`, with the nearest word.
func (e *Error) Error() string {
	s := e.head()
	if e.Nearest != "" {
		s += fmt.Sprintf(", did you mean %q?", e.Nearest)
	}
	return s
}

func (e *Error) head() string {
	return fmt.Sprintf("%s:%d:%d: %s", visible(e.File), e.Line, e.Column, e.Msg)
}

const (
	gutter   = 5  // characters of a line's number
	maxWidth = 76 // characters of a line of help
	maxShown = 90 // characters of a source line
)

// Pretty returns the error with an excerpt of the file, the offending text underlined,
// and what was expected. Control characters of the file are made visible.
func (e *Error) Pretty() string {
	var b strings.Builder
	b.WriteString(e.head() + "\n\n")
	from := 0 // the first character shown, so that the underlined text is in sight
	if e.Column+min(e.Length, 20) > maxShown {
		from = e.Column - maxShown/2
	}
	if strings.TrimSpace(e.Above) != "" {
		fmt.Fprintf(&b, "%*d │ %s\n", gutter, e.Line-1, cut(e.Above, from))
	}
	fmt.Fprintf(&b, "%*d │ %s\n", gutter, e.Line, cut(e.Source, from))
	before := e.Column - 1 - from
	if from > 0 {
		before++ // the … that stands for what is cut off
	}
	length := max(1, min(e.Length, maxShown-before))
	fmt.Fprintf(&b, "%*s │ %s%s\n", gutter, "", strings.Repeat(" ", before), strings.Repeat("^", length))
	for _, l := range wrap(e.help(), maxWidth-gutter-1) {
		fmt.Fprintf(&b, "%*s %s\n", gutter, "", l)
	}
	return b.String()
}

func (e *Error) help() string {
	var parts []string
	if e.Nearest != "" {
		parts = append(parts, fmt.Sprintf("did you mean %q?", e.Nearest))
	}
	if e.Expected != "" {
		word := "expected "
		if e.Nearest != "" {
			word = "Expected "
		}
		parts = append(parts, word+e.Expected)
	}
	return strings.Join(parts, "  ")
}

// Errors is everything found wrong, in the order of the file. It is never empty as an error.
type Errors []*Error

// Error returns one line for each: `file:line:column: message`.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Pretty returns each error as [Error.Pretty] does, an empty line between them.
func (e Errors) Pretty() string {
	parts := make([]string, len(e))
	for i, one := range e {
		parts[i] = one.Pretty()
	}
	return strings.Join(parts, "\n")
}

// cut is a line of the file from a character on, at most maxShown characters of it.
func cut(line string, from int) string {
	r := []rune(visible(line))
	prefix, suffix := "", ""
	if from > 0 {
		prefix = "…"
		r = r[min(from, len(r)):]
	}
	if len(r) > maxShown {
		r, suffix = r[:maxShown], "…"
	}
	return strings.TrimRight(prefix+string(r)+suffix, " ")
}

// visible replaces what a terminal would act upon, one character by one, so that columns stay.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar, unicode.IsPrint(r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}

// quote shows a word of the file: short, and without control characters.
func quote(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return strconv.Quote(s)
}

// wrap breaks a text at spaces; a word that is too long keeps a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Split(text, " ") {
		if line != "" && len([]rune(line))+1+len([]rune(w)) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
			if w == "" {
				continue
			}
		}
		if line != "" || w == "" && len(lines) == 0 {
			line += " "
		}
		line += w
	}
	if line = strings.TrimSpace(line); line != "" {
		lines = append(lines, line)
	}
	return lines
}

// list joins words as a sentence does: "a, b or c".
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
