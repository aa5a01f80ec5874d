package scenario

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A source is the file's text, cut into lines where YAML cuts it.
type source struct {
	lines [][]rune
	texts []string // the same, shared by all errors of a line
}

// A place is a stretch of one line; line and column count from 1, in characters.
type place struct{ line, column, length int }

var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

func newSource(src []byte) *source {
	s := new(source)
	for _, l := range strings.Split(lineBreaks.Replace(string(src)), "\n") {
		s.lines, s.texts = append(s.lines, []rune(l)), append(s.texts, l)
	}
	return s
}

// line returns a line's text, "" outside the file.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.texts[n-1]
}

// clamp puts a place inside the file.
func (s *source) clamp(p place) place {
	p.line = min(max(p.line, 1), len(s.lines))
	n := len(s.lines[p.line-1])
	p.column = min(max(p.column, 1), n+1)
	p.length = max(1, min(p.length, n+1-p.column))
	return p
}

// rest is the text of the node's first line from the node on, anchor and tag skipped,
// and the column where it begins.
func (s *source) rest(n *yaml.Node) ([]rune, int) {
	if n.Line < 1 || n.Line > len(s.lines) {
		return nil, n.Column
	}
	line := s.lines[n.Line-1]
	i := min(max(n.Column-1, 0), len(line))
	for i < len(line) && (line[i] == '&' || line[i] == '!') {
		for i < len(line) && line[i] != ' ' && line[i] != '\t' {
			i++
		}
		for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
			i++
		}
	}
	return line[i:], i + 1
}

// of is the place of a node: a scalar whole, a flow collection up to its bracket, a block
// collection its first word; never more than one line.
func (s *source) of(n *yaml.Node) place {
	rest, column := s.rest(n)
	if (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && n.Style&yaml.FlowStyle == 0 {
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
			return s.of(n.Content[0])
		}
		return s.clamp(place{n.Line, column, 1})
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		if at := s.positions(n); at != nil && len(n.Value) > 0 {
			if last := at[len(n.Value)]; last.line == n.Line {
				return s.clamp(place{n.Line, column, last.column - column})
			}
		}
		return s.clamp(place{n.Line, column, len([]rune(strings.TrimRight(string(rest), " \t")))})
	}
	return s.clamp(place{n.Line, column, closing(rest)})
}

// closing is the length of the quoted text or bracketed collection that a line begins with.
func closing(line []rune) int {
	depth, quote := 0, rune(0)
	for i := 0; i < len(line); i++ {
		switch r := line[i]; {
		case quote == '"' && r == '\\':
			i++
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '{' || r == '[':
			depth++
		case r == '}' || r == ']':
			depth--
		case depth == 0:
			return max(i, 1)
		}
		if depth == 0 && quote == 0 {
			return i + 1
		}
	}
	return len([]rune(strings.TrimRight(string(line), " \t")))
}

// within is the place of a part of a scalar's value, given in bytes of the value. If the
// text cannot be followed (an odd way of folding), it is the whole scalar.
func (s *source) within(n *yaml.Node, offset, length int) place {
	at := s.positions(n)
	if at == nil || offset < 0 || offset > len(n.Value) {
		return s.of(n)
	}
	from, to := at[offset], at[min(offset+max(length, 0), len(n.Value))]
	if to.line != from.line {
		to = place{from.line, len(s.lines[from.line-1]) + 1, 0}
	}
	return s.clamp(place{from.line, from.column, to.column - from.column})
}

// positions says for each byte of a scalar's value, and for its end, where it stands in the
// file; nil if the value and the text do not go together.
func (s *source) positions(n *yaml.Node) []place {
	rest, column := s.rest(n)
	if len(rest) == 0 || n.Kind != yaml.ScalarNode {
		return nil
	}
	w := walker{source: s, line: n.Line, column: column, at: make([]place, 0, len(n.Value)+1)}
	switch {
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		w.quote = rest[0]
		w.column++
	case n.Style&yaml.LiteralStyle != 0:
		return s.literal(n)
	case n.Style&yaml.FoldedStyle != 0:
		if !w.nextLine() {
			return nil
		}
	}
	for i, r := range n.Value {
		width := utf8.RuneLen(r)
		if width < 0 || !w.step(r, width, n.Value[i:]) {
			return nil
		}
	}
	return append(w.at, place{w.line, w.column, 0})
}

// literal finds the lines of a block scalar |, each of which is a line of its value.
func (s *source) literal(n *yaml.Node) []place {
	var at []place
	for k, l := range strings.SplitAfter(n.Value, "\n") {
		text := strings.TrimSuffix(l, "\n")
		number := n.Line + 1 + k
		if number > len(s.lines) {
			number = len(s.lines)
		}
		full := string(s.lines[number-1])
		if !strings.HasSuffix(full, text) {
			return nil
		}
		column := len([]rune(full)) - len([]rune(text)) + 1
		for _, r := range l {
			for range utf8.RuneLen(r) {
				at = append(at, place{number, column, 0})
			}
			column++
		}
		if k == strings.Count(n.Value, "\n") {
			at = append(at, place{number, column, 0})
		}
	}
	return at
}

// A walker follows a scalar's value through the text of the file.
type walker struct {
	source       *source
	line, column int
	quote        rune // ' or " or 0
	at           []place
}

func (w *walker) text() []rune { return w.source.lines[w.line-1][w.column-1:] }

// nextLine goes to the first character of the next line that has one.
func (w *walker) nextLine() bool {
	for w.line < len(w.source.lines) {
		w.line++
		l := w.source.lines[w.line-1]
		i := 0
		for i < len(l) && (l[i] == ' ' || l[i] == '\t') {
			i++
		}
		if i < len(l) {
			w.column = i + 1
			return true
		}
	}
	return false
}

func (w *walker) put(width int) {
	for range width {
		w.at = append(w.at, place{w.line, w.column, 0})
	}
}

// step follows one character of the value.
func (w *walker) step(r rune, width int, value string) bool {
	if w.column-1 > len(w.source.lines[w.line-1]) {
		return false
	}
	rest := w.text()
	if (r == ' ' || r == '\n') && blank(rest) {
		w.put(width)
		if strings.Trim(value, "\n ") != "" && !strings.HasPrefix(value[width:], "\n") {
			return w.nextLine()
		}
		return true
	}
	w.put(width)
	switch {
	case len(rest) == 0:
		return false
	case w.quote == '"' && rest[0] == '\\':
		n := map[rune]int{'x': 4, 'u': 6, 'U': 10}
		if len(rest) < 2 {
			return false
		}
		w.column += max(2, n[rest[1]])
		return true
	case w.quote == '\'' && rest[0] == '\'':
		w.column += 2
		return r == '\'' && len(rest) > 1 && rest[1] == '\''
	}
	w.column++
	return rest[0] == r
}

// blank reports whether there is nothing but spaces and tabs.
func blank(line []rune) bool {
	for _, r := range line {
		if r != ' ' && r != '\t' {
			return false
		}
	}
	return true
}
