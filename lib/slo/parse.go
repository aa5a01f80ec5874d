package slo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
)

// Limits on an expression, so that a hostile one costs nothing.
const (
	maxText   = 1000    // bytes
	maxNest   = 20      // parentheses within parentheses
	maxDigits = 40      // characters of a number without its unit
	minNumber = 1e-12   // in seconds, per second, or plain; 0 is fine
	maxNumber = 1e15    // so that a number's canonical form stays within maxDigits
	maxWindow = 86400.0 // seconds, of a metric's argument
)

// Parse reads one objective, EXPR OP EXPR:
//
//	cluster.availability >= 99%
//	cluster.during.p99{request="read"} <= 2 * single.p99 + 50ms
//
// OP is one of >= <= > < == !=. An EXPR is made of numbers (12, 0.95, 99%, 250ms, 5s, 300/s), metrics,
// + - * / and parentheses; a binary minus stands between spaces, because names may contain one. A metric is
// ARM.METRIC or ARM.PHASE.METRIC, then its arguments in (…) and its labels in {…}; the words are those of
// [analysis.Specs]. Units must agree. Whether arms, requests and faults exist is for the caller to check.
//
// The error is a [*SyntaxError].
func Parse(text string) (Comparison, error) {
	p := &parser{text: text}
	c, err := p.comparison()
	if err != nil {
		return Comparison{}, err
	}
	return c, nil
}

// A parser reads an expression from left to right, by recursive descent.
type parser struct {
	text string
	pos  int
	nest int
	// bare: a condition is read, not an objective. Its metrics name no arm, and `and` joins its comparisons.
	bare bool
}

// A span is a part of the text, in bytes.
type span struct{ from, to int }

func (s span) wrong(format string, args ...any) *SyntaxError {
	return &SyntaxError{Offset: s.from, Length: s.to - s.from, Msg: fmt.Sprintf(format, args...)}
}

func (e *SyntaxError) expect(format string, args ...any) *SyntaxError {
	e.Expected = fmt.Sprintf(format, args...)
	return e
}

func (e *SyntaxError) near(word string, words []string) *SyntaxError {
	e.Nearest = Nearest(word, words)
	return e
}

// An operand is an expression, and where it stands.
type operand struct {
	Expr
	span
}

// comparisons are the operators between two sides, longest first.
var comparisons = [...]string{">=", "<=", "==", "!=", ">", "<"}

func (p *parser) comparison() (Comparison, error) {
	if err := p.fits(); err != nil {
		return Comparison{}, err
	}
	c, err := p.one()
	if err != nil {
		return Comparison{}, err
	}
	p.space()
	if p.pos < len(p.text) {
		return Comparison{}, p.leftOver()
	}
	return c, nil
}

// fits refuses a text that is too long to be worth reading.
func (p *parser) fits() error {
	if len(p.text) > maxText {
		return span{0, len(p.text)}.wrong("an expression of %d bytes is too long", len(p.text)).
			expect("at most %d bytes", maxText)
	}
	return nil
}

// one reads a comparison, and leaves what follows it.
func (p *parser) one() (Comparison, error) {
	l, err := p.sum()
	if err != nil {
		return Comparison{}, err
	}
	op, at, err := p.operator()
	if err != nil {
		return Comparison{}, err
	}
	r, err := p.sum()
	if err != nil {
		return Comparison{}, err
	}
	all := span{l.from, r.to}
	if len(Metrics(l.Expr))+len(Metrics(r.Expr)) == 0 {
		example := "cluster.availability >= 99%"
		if p.bare {
			example = "p99 > 200ms"
		}
		return Comparison{}, all.wrong("nothing is measured here: both sides are plain numbers").
			expect("a metric on one side, such as %s", example)
	}
	if _, ok := same(l.Expr, r.Expr); !ok {
		return Comparison{}, all.wrong("%s is compared with %s by %s", describe(l.Expr), describe(r.Expr), p.text[at.from:at.to]).
			expect("%s on both sides", inUnit(unitToSay(l.Expr, r.Expr)))
	}
	return Comparison{L: l.Expr, Op: op, R: r.Expr}, nil
}

// operator reads the comparison between the sides.
func (p *parser) operator() (string, span, error) {
	p.space()
	const want = "a comparison: >=, <=, >, <, == or !="
	for _, op := range comparisons {
		if strings.HasPrefix(p.text[p.pos:], op) {
			at := span{p.pos, p.pos + len(op)}
			p.pos += len(op)
			return op, at, p.doubled(at)
		}
	}
	if p.pos == len(p.text) {
		return "", span{}, p.here().wrong("the comparison is missing").expect(want)
	}
	for wrong, right := range map[string]string{"=>": ">=", "=<": "<=", "≥": ">=", "≤": "<=", "≠": "!=", "=": "=="} {
		if strings.HasPrefix(p.text[p.pos:], wrong) && (wrong != "=" || !strings.ContainsAny(p.text[p.pos+1:min(p.pos+2, len(p.text))], "<>")) {
			e := span{p.pos, p.pos + len(wrong)}.wrong("%q is no comparison", wrong).expect(want)
			e.Nearest = right
			return "", span{}, e
		}
	}
	return "", span{}, p.notAnOperator(want)
}

// doubled refuses what other languages have and this one has not: <>, ===, >>.
func (p *parser) doubled(at span) error {
	if p.pos < len(p.text) && strings.ContainsRune("<>=!", rune(p.text[p.pos])) {
		at.to = p.pos + 1
		return at.wrong("%q is no comparison", p.text[at.from:at.to]).expect("one of >=, <=, >, <, == or !=")
	}
	return nil
}

// notAnOperator explains what stands where an operator should.
func (p *parser) notAnOperator(want string) *SyntaxError {
	at := p.token()
	switch got := p.text[at.from:at.to]; {
	case got == "-" || strings.HasPrefix(got, "-"):
		return span{p.pos, p.pos + 1}.wrong("a minus without a space on both sides").
			expect("a space before and after it, because names may contain a minus")
	case got == ")":
		return at.wrong("%q closes nothing", got).expect("%s", want)
	default:
		return at.wrong("unexpected %s", quote(got)).expect("%s", "an operator (+ - * /) or "+want)
	}
}

// leftOver explains what follows a whole comparison.
func (p *parser) leftOver() *SyntaxError {
	at := p.token()
	switch got := p.text[at.from:at.to]; {
	case got == "and" || got == "or" || got == "&&" || got == "||":
		return at.wrong("an objective is one comparison").expect("the end; a second comparison is an item of its own in the list")
	case strings.ContainsAny(got[:1], "<>=!"):
		return at.wrong("a second comparison").expect("the end; an objective is one comparison")
	default:
		return p.notAnOperator("the end")
	}
}

func (p *parser) sum() (operand, error) {
	l, err := p.product()
	for err == nil {
		op := p.binary("+-")
		if op == 0 {
			return l, nil
		}
		var r operand
		if r, err = p.product(); err != nil {
			break
		}
		u, ok := same(l.Expr, r.Expr)
		at := span{l.from, r.to}
		if !ok {
			verb := map[byte]string{'+': "added to", '-': "taken from"}[op]
			return l, at.wrong("%s is %s %s", describe(r.Expr), verb, describe(l.Expr)).
				expect("%s on both sides", inUnit(unitToSay(l.Expr, r.Expr)))
		}
		if l, err = join(op, l, r, u, at); err != nil {
			break
		}
	}
	return l, err
}

func (p *parser) product() (operand, error) {
	l, err := p.factor()
	for err == nil {
		op := p.binary("*/")
		if op == 0 {
			return l, nil
		}
		var r operand
		if r, err = p.factor(); err != nil {
			break
		}
		at := span{l.from, r.to}
		u, ok := productUnit(op, l.Expr, r.Expr)
		if !ok {
			verb := map[byte]string{'*': "multiplied by", '/': "divided by"}[op]
			return l, at.wrong("%s is %s %s", describe(l.Expr), verb, describe(r.Expr)).
				expect("units that make a time, a rate, a ratio or a number, such as 2 * a.p99, a.p99 / b.p99, 300/s * 5s")
		}
		if l, err = join(op, l, r, u, at); err != nil {
			break
		}
	}
	return l, err
}

// join makes one expression of two; of two constants it refuses what is no number.
func join(op byte, l, r operand, u analysis.Unit, at span) (operand, error) {
	b := Binary{Op: op, L: l.Expr, R: r.Expr, Unit: u}
	if v, ok := Constant(r.Expr); ok && op == '/' && v == 0 {
		return l, r.wrong("a division by zero")
	}
	if v, ok := Constant(b); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
		return l, at.wrong("the number is too large")
	}
	return operand{b, at}, nil
}

// binary reads one of the operators, or returns 0 and reads nothing.
func (p *parser) binary(ops string) byte {
	p.space()
	if p.pos == len(p.text) || !strings.ContainsRune(ops, rune(p.text[p.pos])) {
		return 0
	}
	op := p.text[p.pos]
	if op == '-' && !(p.pos > 0 && isSpace(p.text[p.pos-1]) && p.pos+1 < len(p.text) && isSpace(p.text[p.pos+1])) {
		return 0
	}
	p.pos++
	return op
}

func (p *parser) factor() (operand, error) {
	p.space()
	want := "a number, a metric such as cluster.p99, or ("
	if p.bare {
		want = "a number, a metric such as p99, or ("
	}
	if p.pos == len(p.text) {
		return operand{}, p.here().wrong("the expression ends too early").expect("%s", want)
	}
	switch c := p.text[p.pos]; {
	case c == '(':
		return p.parenthesis()
	case isDigit(c) || c == '.' || c == '-' && p.pos+1 < len(p.text) && isDigit(p.text[p.pos+1]):
		from := p.pos
		n, err := p.number()
		return operand{n, span{from, p.pos}}, err
	case isLetter(c):
		from := p.pos
		m, err := p.metric()
		return operand{m, span{from, p.pos}}, err
	}
	at := p.token()
	return operand{}, at.wrong("unexpected %s", quote(p.text[at.from:at.to])).expect("%s", want)
}

func (p *parser) parenthesis() (operand, error) {
	from := p.pos
	open := span{from, from + 1}
	if p.nest++; p.nest > maxNest {
		return operand{}, open.wrong("parentheses are nested too deeply").expect("at most %d levels", maxNest)
	}
	p.pos++
	e, err := p.sum()
	if err != nil {
		return e, err
	}
	p.space()
	if p.pos == len(p.text) {
		return e, open.wrong("the parenthesis is not closed").expect(")")
	}
	if p.text[p.pos] != ')' {
		return e, p.notAnOperator(")")
	}
	p.pos++
	p.nest--
	return operand{e.Expr, span{from, p.pos}}, nil
}

// scales are the units that a number may carry: a power of ten and a factor, so
// that 3ms is exactly the number nearest to 0.003.
var scales = []struct {
	name   string
	exp    string
	factor float64
	unit   analysis.Unit
}{
	{"ns", "e-9", 1, analysis.Seconds},
	{"us", "e-6", 1, analysis.Seconds},
	{"µs", "e-6", 1, analysis.Seconds},
	{"ms", "e-3", 1, analysis.Seconds},
	{"s", "", 1, analysis.Seconds},
	{"m", "", 60, analysis.Seconds},
	{"h", "", 3600, analysis.Seconds},
	{"%", "e-2", 1, analysis.Ratio},
	{"/s", "", 1, analysis.PerSecond},
	{"/m", "", 1. / 60, analysis.PerSecond},
	{"/h", "", 1. / 3600, analysis.PerSecond},
	{"", "", 1, analysis.Number},
}

const numberWant = "a number such as 12, 0.95, 99%, 250ms, 5s, 2m, 300/s or 5000/m"

func (p *parser) number() (Num, error) {
	from := p.pos
	if p.text[p.pos] == '-' {
		p.pos++
	}
	for p.pos < len(p.text) && (isDigit(p.text[p.pos]) || p.text[p.pos] == '.') {
		p.pos++
	}
	digits := p.text[from:p.pos]
	unit := p.unitWord()
	at := span{from, p.pos}
	if len(digits) > maxDigits {
		return Num{}, at.wrong("a number of %d digits is too long", len(digits)).expect("at most %d", maxDigits)
	}
	for _, s := range scales {
		if s.name != unit {
			continue
		}
		v, err := strconv.ParseFloat(digits+s.exp, 64)
		if a := math.Abs(v * s.factor); err == nil && a != 0 && (a < minNumber || a > maxNumber) {
			return Num{}, at.wrong("%s is out of range", p.at(at)).expect("from %g to %g", minNumber, maxNumber)
		}
		if err != nil || strings.HasSuffix(digits, ".") {
			return Num{}, at.wrong("%s is no number", quote(p.text[from:p.pos])).expect("%s", numberWant)
		}
		return Num{V: v*s.factor + 0, Unit: s.unit}, nil
	}
	names := make([]string, 0, len(scales))
	for _, s := range scales {
		names = append(names, s.name)
	}
	e := span{from + len(digits), p.pos}.wrong("unknown unit %s", quote(unit)).expect("%s", numberWant)
	return Num{}, e.near(unit, names[:8])
}

// unitWord reads what follows a number without a space. "/s" is a unit, "/single.p99" is a division.
func (p *parser) unitWord() string {
	from := p.pos
	rest := p.text[p.pos:]
	switch {
	case strings.HasPrefix(rest, "%"):
		p.pos++
	case strings.HasPrefix(rest, "/"):
		w := wordLen(rest[1:])
		if w == 1 && strings.Contains("smh", rest[1:2]) && !strings.HasPrefix(rest[2:], ".") {
			p.pos += 2
		}
	default:
		for p.pos < len(p.text) {
			r, n := utf8.DecodeRuneInString(p.text[p.pos:])
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' {
				break
			}
			p.pos += n
		}
	}
	return p.text[from:p.pos]
}

// metric reads [ARM.][PHASE.]METRIC[(…)][{…}].
func (p *parser) metric() (Metric, error) {
	from := p.pos
	words, err := p.dotted()
	if err != nil {
		return Metric{}, err
	}
	m := Metric{Offset: from}
	last := words[len(words)-1]
	spec, err := p.spec(last)
	if err != nil {
		return m, err
	}
	m.Ref.Metric = spec.Name
	words = words[:len(words)-1]
	if p.bare {
		if err := p.plain(spec, words, last); err != nil {
			return m, err
		}
		if err := p.arguments(spec, &m.Ref, last); err != nil {
			return m, err
		}
		return m, p.labels(spec, &m.Ref)
	}
	if n := len(words); n == 2 || n == 1 && isPhase(p.at(words[0])) {
		phase := words[n-1]
		if !isPhase(p.at(phase)) {
			e := phase.wrong("unknown phase %s", quote(p.at(phase))).near(p.at(phase), phaseNames()).
				expect("one of %s", strings.Join(phaseNames(), ", "))
			if before, after, ok := minus(p.at(phase)); ok {
				e.Nearest = ""
				e.expect("a space before and after the minus, as in %s - %s, because names may contain one", before, after)
			}
			return m, e
		}
		if !spec.Phased {
			return m, phase.wrong("%s is not measured in phases", spec.Name).expect("%s without a phase", spec.Name)
		}
		m.Ref.Phase = analysis.Phase(p.at(phase))
		words = words[:n-1]
	}
	if len(words) == 0 {
		return m, span{from, last.to}.wrong("%s of which arm?", p.text[from:last.to]).
			expect("ARM.%s, ARM being one of the scenario's arms (target, if it has none)", p.text[from:last.to])
	}
	if arm := p.at(words[0]); isPhase(arm) {
		return m, words[0].wrong("%q is a phase, and stands where an arm should", arm).expect("ARM.PHASE.METRIC")
	}
	m.Arm = p.at(words[0])
	if err := p.arguments(spec, &m.Ref, last); err != nil {
		return m, err
	}
	return m, p.labels(spec, &m.Ref)
}

// plain refuses what a metric of a condition may not have: an arm, a phase, a fault.
func (p *parser) plain(spec analysis.Spec, before []span, name span) error {
	for _, w := range before {
		if isPhase(p.at(w)) {
			return w.wrong("a condition has no phases: it is judged while load is running").expect("%s alone", spec.Name)
		}
	}
	if len(before) > 0 {
		return before[0].wrong("a condition names no arm: it is about its own trial").expect("%s alone", spec.Name)
	}
	if spec.Search {
		return name.wrong("%s is what a search finds, and known only after it", spec.Name).expect("a metric such as availability, p99 or error_rate")
	}
	if spec.OfFault {
		return name.wrong("%s is about a fault, and known only after it", spec.Name).expect("a metric such as availability, p99 or error_rate")
	}
	if spec.OfWrite {
		return name.wrong("%s is known only after the load", spec.Name).expect("a metric such as availability, p99 or error_rate")
	}
	return nil
}

// dotted reads one to three words with dots between them.
func (p *parser) dotted() ([]span, error) {
	var words []span
	for {
		n := wordLen(p.text[p.pos:])
		if n == 0 {
			return nil, p.token().wrong("a name is missing after the dot").expect("ARM.METRIC or ARM.PHASE.METRIC")
		}
		words = append(words, span{p.pos, p.pos + n})
		p.pos += n
		if p.pos == len(p.text) || p.text[p.pos] != '.' {
			break
		}
		p.pos++
	}
	if len(words) > 3 {
		return nil, span{words[0].from, p.pos}.wrong("too many names").expect("ARM.METRIC or ARM.PHASE.METRIC")
	}
	return words, nil
}

func (p *parser) at(s span) string { return p.text[s.from:s.to] }

func (p *parser) spec(at span) (analysis.Spec, error) {
	word := p.at(at)
	if s, ok := analysis.SpecOf(word); ok {
		return s, nil
	}
	var names []string
	for _, s := range analysis.Specs() {
		names = append(names, s.Name)
	}
	for _, later := range analysis.Later() {
		if later == word {
			return analysis.Spec{}, at.wrong("metric %q is part of the format, but this version of tutti lacks it", word).
				expect("one of %s", strings.Join(names, ", "))
		}
	}
	e := at.wrong("unknown metric %s", quote(word)).near(word, names)
	if before, after, ok := minus(word); ok {
		e.Nearest = before + " - " + after
		return analysis.Spec{}, e.expect("a space before and after the minus, because names may contain one")
	}
	return analysis.Spec{}, e.expect("one of %s", strings.Join(names, ", "))
}

// minus cuts a word that was probably meant as a difference: p99-5ms.
func minus(word string) (before, after string, ok bool) {
	before, after, ok = strings.Cut(word, "-")
	_, metric := analysis.SpecOf(before)
	return before, after, ok && metric
}

// arguments reads (1s, 99%), as many as the metric has.
func (p *parser) arguments(spec analysis.Spec, ref *analysis.Ref, name span) error {
	if p.pos == len(p.text) || p.text[p.pos] != '(' {
		if len(spec.Args) > 0 {
			return name.wrong("%s lacks its arguments", spec.Name).expect("%s", exampleCall(spec))
		}
		return nil
	}
	from := p.pos
	p.pos++
	if len(spec.Args) == 0 {
		return span{from, p.pos}.wrong("%s has no arguments", spec.Name).expect("%s alone", spec.Name)
	}
	for i, unit := range spec.Args {
		if i > 0 && !p.skip(',') {
			return p.token().wrong("%s has %d arguments", spec.Name, len(spec.Args)).expect("%s", exampleCall(spec))
		}
		v, err := p.argument(spec, unit)
		if err != nil {
			return err
		}
		ref.Args = append(ref.Args, v)
	}
	if !p.skip(')') {
		return p.token().wrong("the arguments of %s are not closed", spec.Name).expect("%s", exampleCall(spec))
	}
	return nil
}

func (p *parser) argument(spec analysis.Spec, unit analysis.Unit) (float64, error) {
	p.space()
	if p.pos == len(p.text) || !isDigit(p.text[p.pos]) {
		return 0, p.token().wrong("an argument of %s is missing", spec.Name).expect("%s", exampleCall(spec))
	}
	from := p.pos
	n, err := p.number()
	if err != nil {
		return 0, err
	}
	at := span{from, p.pos}
	switch {
	case unit == analysis.Ratio && n.Unit == analysis.Number:
		n.Unit = analysis.Ratio
	case n.Unit != unit:
		return 0, at.wrong("%s is no argument of %s", quote(p.at(at)), spec.Name).expect("%s", exampleCall(spec))
	}
	if n.V <= 0 || unit == analysis.Seconds && n.V > maxWindow || unit == analysis.Ratio && n.V > 1 {
		limit := map[analysis.Unit]string{analysis.Seconds: "24h", analysis.Ratio: "100%"}[unit]
		return 0, at.wrong("%s is out of range", p.at(at)).expect("more than 0, at most %s", limit)
	}
	return n.V, nil
}

// exampleCall shows a metric with its arguments.
func exampleCall(spec analysis.Spec) string {
	var args []string
	for _, u := range spec.Args {
		args = append(args, map[analysis.Unit]string{analysis.Seconds: "1s", analysis.Ratio: "99%"}[u])
	}
	return spec.Name + "(" + strings.Join(args, ", ") + ")"
}

// labels reads {request="write", class="timeout"}.
func (p *parser) labels(spec analysis.Spec, ref *analysis.Ref) error {
	if p.pos == len(p.text) || p.text[p.pos] != '{' {
		return nil
	}
	open := span{p.pos, p.pos + 1}
	p.pos++
	if len(spec.Labels) == 0 {
		return open.wrong("%s has no labels", spec.Name).expect("%s alone", spec.Name)
	}
	fields := map[string]*string{"request": &ref.Request, "class": &ref.Class, "fault": &ref.Fault}
	for {
		p.space()
		at := span{p.pos, p.pos + wordLen(p.text[p.pos:])}
		name := p.at(at)
		if !contains(spec.Labels, name) {
			return p.wrongLabel(spec, at)
		}
		p.pos = at.to
		if *fields[name] != "" {
			return at.wrong("label %s is there twice", name)
		}
		value, err := p.labelValue(spec, name)
		if err != nil {
			return err
		}
		*fields[name] = value
		if p.skip('}') {
			return nil
		}
		if !p.skip(',') {
			if p.pos == len(p.text) {
				return open.wrong("the labels are not closed").expect("}")
			}
			at := p.token()
			return at.wrong("unexpected %s", quote(p.at(at))).expect("a comma or }")
		}
	}
}

func (p *parser) wrongLabel(spec analysis.Spec, at span) error {
	want := make([]string, len(spec.Labels))
	for i, l := range spec.Labels {
		want[i] = l + `="…"`
	}
	if at.to == at.from {
		return p.token().wrong("a label is missing").expect("%s", strings.Join(want, ", "))
	}
	return at.wrong("%s has no label %s", spec.Name, quote(p.at(at))).near(p.at(at), spec.Labels).
		expect("%s", strings.Join(want, ", "))
}

func (p *parser) labelValue(spec analysis.Spec, name string) (string, error) {
	if !p.skip('=') {
		return "", p.token().wrong("label %s of %s has no value", name, spec.Name).expect(`%s="…"`, name)
	}
	p.space()
	quoted, err := strconv.QuotedPrefix(p.text[p.pos:])
	if err != nil || quoted[0] != '"' {
		at := p.token()
		return "", at.wrong("the value of label %s is not in double quotes", name).expect(`%s="…"`, name)
	}
	at := span{p.pos, p.pos + len(quoted)}
	p.pos = at.to
	value, err := strconv.Unquote(quoted)
	if err != nil || value == "" {
		return "", at.wrong("label %s is empty", name).expect(`%s="…"`, name)
	}
	if name == "class" {
		if _, err := record.ParseClass(value); err != nil {
			var names []string
			for _, c := range record.Classes() {
				names = append(names, c.String())
			}
			return "", at.wrong("unknown class %s", quote(value)).near(value, names).expect("one of %s", strings.Join(names, ", "))
		}
	}
	return value, nil
}

func (p *parser) space() {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

// skip reads c, and spaces before it.
func (p *parser) skip(c byte) bool {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// here is the place where the text ended too early: its last character.
func (p *parser) here() span {
	text := strings.TrimRightFunc(p.text, func(r rune) bool { return r < utf8.RuneSelf && isSpace(byte(r)) })
	_, n := utf8.DecodeLastRuneInString(text)
	return span{len(text) - n, len(text)}
}

// token is the word or sign at the place that is not understood.
func (p *parser) token() span {
	p.space()
	if p.pos == len(p.text) {
		return p.here()
	}
	if n := wordLen(p.text[p.pos:]); n > 0 {
		return span{p.pos, p.pos + n}
	}
	for _, s := range []string{"&&", "||", ">=", "<=", "==", "!="} {
		if strings.HasPrefix(p.text[p.pos:], s) {
			return span{p.pos, p.pos + len(s)}
		}
	}
	end := p.pos
	for end < len(p.text) && isDigit(p.text[end]) {
		end++
	}
	if end > p.pos {
		return span{p.pos, end}
	}
	_, n := utf8.DecodeRuneInString(p.text[p.pos:])
	return span{p.pos, p.pos + n}
}

// wordLen is the length of the name that s begins with: a letter, then letters, digits, - and _.
func wordLen(s string) int {
	if s == "" || !isLetter(s[0]) {
		return 0
	}
	n := 1
	for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '-' || s[n] == '_') {
		n++
	}
	return n
}

func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isPhase(s string) bool { return contains(phaseNames(), s) }

func phaseNames() []string {
	var names []string
	for _, ph := range analysis.Phases() {
		names = append(names, string(ph))
	}
	return names
}

func contains(words []string, w string) bool {
	for _, s := range words {
		if s == w {
			return true
		}
	}
	return false
}

// quote shows hostile text: short, and without control characters.
func quote(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return strconv.Quote(s)
}
