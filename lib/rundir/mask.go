package rundir

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// minSecret is the shortest value that is looked for beside its key: shorter ones stand
// everywhere by chance.
const minSecret = 4

// maxNodes bounds the values that are visited, each alias counted as what it stands for. A scenario
// that was parsed has fewer.
const maxNodes = 50_000

// maxPath is the depth of the deepest place in which a secret can stand.
const maxPath = 7

const masked = "***"

// secretKey matches keys whose values are nobody's business.
const secretKey = `(?i)(passw|secret|token|api[-_]?key|authorization|cookie|credential|private[-_]?key)`

// free are the mappings of a scenario whose keys and values are the user's own; * is any key or item. Everywhere
// else a key such as `token-service` is the name of something.
var free = []string{
	"target.env", "arms.*.env", "load.requests.*.headers", "load.requests.*.json", "load.requests.*.expect.header",
	"load.requests.*.steps.*.headers", "load.requests.*.steps.*.json", "load.requests.*.steps.*.expect.header",
}

// prose are the texts that name nothing, in which a secret may be repeated.
var prose = []string{
	"hypothesis", "load.requests.*.body", "load.requests.*.expect.body", "load.requests.*.expect.contains",
	"load.requests.*.steps.*.body", "load.requests.*.steps.*.expect.body", "load.requests.*.steps.*.expect.contains",
}

// Mask replaces what stands under keys that name secrets (in variables, headers and bodies) by asterisks, and the
// same text wherever it is repeated in such places, in bodies and in comments, so that a scenario can be kept and
// shown. What names things is left alone, even if it is the same word: the result is the same scenario to
// a judge, line for line. A source that is no YAML comes back as it is.
func Mask(src []byte) []byte {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil || len(doc.Content) == 0 {
		return src // it was parsed before; nothing to find in what cannot be read
	}
	m := &masker{text: text{src: src, lines: lineStarts(src)}, key: regexp.MustCompile(secretKey), edits: make(map[int]edit)}
	m.outer(doc.Content[0], -1)
	m.find(doc.Content[0], nil)
	for _, s := range m.secret {
		m.hide(s)
	}
	for _, s := range m.others {
		m.clean(s)
	}
	m.comments()
	return m.apply()
}

// A masker masks one source.
type masker struct {
	text
	key     *regexp.Regexp
	indent  map[*yaml.Node]int // of the collection that a scalar stands in
	covered []span             // every scalar, keys too
	secret  []*yaml.Node
	others  []*yaml.Node // scalars in which a secret may be repeated
	values  []string     // the secrets
	edits   map[int]edit // by where they begin
	visited int
}

type span struct{ from, to int }

type edit struct {
	to   int
	text string
}

// outer notes where scalars are, and how far what they stand in is indented.
func (m *masker) outer(n *yaml.Node, indent int) {
	if m.indent == nil {
		m.indent = make(map[*yaml.Node]int)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		m.indent[n] = indent
		m.covered = append(m.covered, m.extent(n, indent))
	case yaml.MappingNode, yaml.SequenceNode:
		for i, c := range n.Content {
			inside := n.Column - 1
			if n.Kind == yaml.MappingNode {
				inside = n.Content[i-i%2].Column - 1
			}
			m.outer(c, inside)
		}
	case yaml.AliasNode, yaml.DocumentNode: // an alias's value stands elsewhere
	}
}

// find collects the secrets, and the places where they may be repeated.
func (m *masker) find(n *yaml.Node, path []string) {
	if m.visited++; m.visited > maxNodes || len(path) > maxPath {
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		m.find(n.Alias, path)
	case matches(prose, path):
		m.scalars(n, &m.others)
	case matches(free, path):
		m.choose(n)
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			m.find(n.Content[i+1], append(slices.Clone(path), n.Content[i].Value))
		}
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			m.find(c, append(slices.Clone(path), "-"))
		}
	}
}

func matches(patterns, path []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		parts := strings.Split(pattern, ".")
		return slices.EqualFunc(parts, path, func(want, got string) bool { return want == "*" || want == got })
	})
}

// choose parts the scalars of a free mapping into secrets and others.
func (m *masker) choose(n *yaml.Node) {
	if m.visited++; m.visited > maxNodes {
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		m.choose(n.Alias)
	case yaml.ScalarNode:
		m.others = append(m.others, n)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if m.key.MatchString(n.Content[i].Value) {
				m.scalars(n.Content[i+1], &m.secret)
			} else {
				m.choose(n.Content[i+1])
			}
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			m.choose(c)
		}
	}
}

// scalars collects every scalar at or below n; of mappings the values.
func (m *masker) scalars(n *yaml.Node, into *[]*yaml.Node) {
	if m.visited++; m.visited > maxNodes {
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		m.scalars(n.Alias, into)
	case yaml.ScalarNode:
		*into = append(*into, n)
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			m.scalars(n.Content[i], into)
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			m.scalars(c, into)
		}
	}
}

// hide masks a secret where it stands, and remembers it.
func (m *masker) hide(n *yaml.Node) {
	for line := range strings.Lines(n.Value) {
		if line = strings.TrimSpace(line); len(line) >= minSecret {
			m.values = append(m.values, line)
		}
	}
	s := m.extent(n, m.indent[n])
	if s.from == s.to {
		return
	}
	raw := string(m.src[s.from:s.to])
	if block(n) {
		m.edits[s.from] = edit{s.to, lineBody.ReplaceAllString(raw, "${1}"+masked)}
		return
	}
	m.edits[s.from] = edit{s.to, `"` + masked + `"` + strings.Join(lineBreak.FindAllString(raw, -1), "")}
}

var (
	lineBody  = regexp.MustCompile(`(?m)^([ \t]*)[^\s][^\r\n]*`)
	lineBreak = regexp.MustCompile(`(?:\r\n|[\r\n\x{85}\x{2028}\x{2029}])[ \t]*`)
	escape    = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// clean masks what is repeated of secrets in a scalar that is none itself.
func (m *masker) clean(n *yaml.Node) {
	s := m.extent(n, m.indent[n])
	raw := string(m.src[s.from:s.to])
	text := raw
	for _, v := range m.longest() {
		text = strings.ReplaceAll(text, v, masked)
	}
	if _, hidden := m.edits[s.from]; hidden || text == raw {
		return
	}
	if plain(n) {
		text = `"` + escape.Replace(text) + `"` // an asterisk may not begin a plain scalar
	}
	m.edits[s.from] = edit{s.to, text}
}

// longest are the secrets, those first of which others are a part.
func (m *masker) longest() []string {
	slices.SortFunc(m.values, func(a, b string) int { return len(b) - len(a) })
	m.values = slices.Compact(m.values)
	return m.values
}

// comments masks secrets outside of every value and key.
func (m *masker) comments() {
	slices.SortFunc(m.covered, func(a, b span) int { return a.from - b.from })
	at := 0
	gap := func(to int) {
		if at >= to {
			return
		}
		raw := string(m.src[at:to])
		text := raw
		for _, v := range m.longest() {
			text = strings.ReplaceAll(text, v, masked)
		}
		if text != raw {
			m.edits[at] = edit{to, text}
		}
	}
	for _, s := range m.covered {
		gap(s.from)
		at = max(at, s.to)
	}
	gap(len(m.src))
}

func (m *masker) apply() []byte {
	starts := make([]int, 0, len(m.edits))
	for from := range m.edits {
		starts = append(starts, from)
	}
	slices.Sort(starts)
	var out bytes.Buffer
	at := 0
	for _, from := range starts {
		e := m.edits[from]
		out.Write(m.src[at:from])
		out.WriteString(e.text)
		at = e.to
	}
	out.Write(m.src[at:])
	return out.Bytes()
}

// A text is a source whose places yaml tells by line and column.
type text struct {
	src   []byte
	lines []int // where each line begins
}

// lineStarts finds the lines as yaml counts them: it knows more line breaks than most.
func lineStarts(src []byte) []int {
	starts := []int{0}
	for _, b := range regexp.MustCompile(`\r\n|[\r\n\x{85}\x{2028}\x{2029}]`).FindAllIndex(src, -1) {
		starts = append(starts, b[1])
	}
	return starts
}

func (t text) offset(line, column int) int {
	at := t.lines[min(line, len(t.lines))-1]
	for range column - 1 {
		_, n := utf8.DecodeRune(t.src[at:])
		at += n
	}
	return at
}

func block(n *yaml.Node) bool { return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 }

func plain(n *yaml.Node) bool {
	return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0
}

// extent is where a scalar's own text stands, quotes included, anchor and tag not; of a block scalar the
// lines below its head, which are indented deeper than what it stands in.
func (t text) extent(n *yaml.Node, indent int) span {
	at := t.offset(n.Line, n.Column)
	for at < len(t.src) && (t.src[at] == '&' || t.src[at] == '!') && (n.Anchor != "" || n.Style&yaml.TaggedStyle != 0) {
		for at < len(t.src) && !space(t.src[at]) {
			at++
		}
		for at < len(t.src) && space(t.src[at]) {
			at++
		}
	}
	switch {
	case block(n):
		return t.blockExtent(at, indent)
	case plain(n):
		return span{at, t.plainEnd(at, n.Value)}
	}
	for to := at + 1; to < len(t.src); to++ {
		switch c := t.src[to]; {
		case c == '\\' && t.src[at] == '"':
			to++
		case c == '\'' && t.src[at] == '\'' && to+1 < len(t.src) && t.src[to+1] == '\'':
			to++
		case c == t.src[at]:
			return span{at, to + 1}
		}
	}
	return span{at, len(t.src)}
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// plainEnd is where a plain scalar ends: its words are in the source as they are in the value, with
// other white space between them.
func (t text) plainEnd(at int, value string) int {
	end := at
	for _, word := range strings.Fields(value) {
		next := end + len(t.src[end:]) - len(bytes.TrimLeftFunc(t.src[end:], unicode.IsSpace))
		if !bytes.HasPrefix(t.src[next:], []byte(word)) {
			return end
		}
		end = next + len(word)
	}
	return end
}

func (t text) blockExtent(head, indent int) span {
	i, found := slices.BinarySearch(t.lines, head)
	if found {
		i++
	}
	if i >= len(t.lines) {
		return span{len(t.src), len(t.src)}
	}
	s := span{t.lines[i], t.lines[i]}
	for ; i < len(t.lines); i++ {
		to := len(t.src)
		if i+1 < len(t.lines) {
			to = t.lines[i+1]
		}
		line := bytes.TrimRight(t.src[t.lines[i]:to], "\r\n")
		body := bytes.TrimLeft(line, " ")
		if len(body) == 0 {
			continue
		}
		if len(line)-len(body) <= indent {
			break
		}
		s.to = t.lines[i] + len(line)
	}
	return s
}
