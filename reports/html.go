package reports

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"html/template"
	"io"
	"regexp"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
)

var (
	//go:embed page.css
	pageCSS string
	//go:embed page.html
	pageHTML string
	//go:embed page.js
	pageJS string
)

// A page is what the template is filled with.
type page struct {
	CSP, Title, Name, Hypothesis, Footer string
	CSS                                  template.CSS
	JS, Data                             template.JS
	Meta                                 []string
	Badge, Sentence, Tiles               template.HTML
	Reasons, Notes                       []string
	Sections                             []section
}

type section struct {
	ID, Short, Title string
	Lead             string
	Body             template.HTML
}

// HTML writes the report as one page that needs nothing but itself: no network, and no script to be read. Its small
// script adds a cursor over the figures and buttons for the arms. What its numbers were computed from is in it, see [Data].
func HTML(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	var b bytes.Buffer
	for _, s.detail = range detailLevels {
		b.Reset()
		s.time = nil
		if err := s.page(&b); err != nil {
			return err
		}
		if b.Len() <= maxPage {
			break
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// page writes the page with as much detail as the sheet says.
func (s *sheet) page(w io.Writer) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	css := strings.TrimSpace(pageCSS)
	js := strings.TrimSpace(pageJS)
	of := s.data()
	data, err := of.json()
	if err != nil {
		return err
	}
	verdict := verdictWord(s.run.Verdict)
	p := page{
		CSP:   policy(css, js),
		Title: visible(strings.ToUpper(verdict) + ": " + s.run.Name + ", a tutti report"), Name: visible(s.run.Name),
		Hypothesis: visible(s.run.Hypothesis), CSS: template.CSS(css), JS: template.JS(js), Data: template.JS(data), Meta: s.meta(), Notes: s.notes(),
		Badge:    template.HTML(verdictHTML(cell{verdict: s.run.Verdict}, "badge")),
		Sentence: template.HTML(s.sentenceHTML()), Tiles: template.HTML(s.tilesHTML()),
		Sections: s.sections(of), Footer: "Run " + visible(s.run.ID) + ".",
	}
	for _, reason := range firstOf(s.moreReasons(), 2*mostLines) {
		p.Reasons = append(p.Reasons, visible(reason))
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("filling the page's template: %w", err)
	}
	return nil
}

// policy allows our own style sheet and script, by their hashes, and nothing else.
func policy(css, js string) string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(css) + "; script-src " + hash(js) + "; base-uri 'none'; form-action 'none'"
}

// moreReasons are all reasons of a run without a judgement, if there are more than the
// sentence has room for.
func (s *sheet) moreReasons() []string {
	judged := s.run.Verdict != rundir.Invalid && s.run.Verdict != rundir.Errored && s.run.Verdict != rundir.Interrupted
	if all := s.reasons(); !judged && len(all) > 1 {
		return all
	}
	return nil
}

// esc makes text safe between tags and inside quoted attributes.
func esc(s string) string { return html.EscapeString(visible(s)) }

func (s *sheet) meta() []string {
	p := s.run.Provenance
	var m []string
	if !p.Started.IsZero() {
		m = append(m, p.Started.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if p.Tutti != "" {
		m = append(m, "tutti "+visible(versionText(p.Tutti)))
	}
	n := plural(s.run.Repeats, "block", "blocks")
	if p.Ended.After(p.Started) && !p.Started.IsZero() {
		n += ", " + elapsed(p.Ended.Sub(p.Started))
	}
	return append(m, n)
}

// pseudo is a version that Go makes up for a commit without a tag.
var pseudo = regexp.MustCompile(`^v\d+\.\d+\.\d+-(?:[0-9a-z.]+\.)?\d{14}-([0-9a-f]{12})`)

// versionText is a version as people read it; the provenance has all of it.
func versionText(v string) string {
	if m := pseudo.FindStringSubmatch(v); m != nil {
		return "development build " + m[1]
	}
	return strings.Replace(v, "(devel)", "development build", 1)
}

func (s *sheet) sentenceHTML() string {
	var b strings.Builder
	for _, p := range s.sentence {
		switch {
		case p.arm != nil:
			b.WriteString(armHTML(p.arm))
		case p.strong:
			b.WriteString("<b>" + esc(p.text) + "</b>")
		case p.code && len(p.text) <= 44:
			b.WriteString(`<code class="nw">` + esc(p.text) + "</code>")
		case p.code:
			b.WriteString("<code>" + esc(p.text) + "</code>")
		case p.iv:
			// Parts break between each other only: a line may end after any dash otherwise.
			b.WriteString(`<span class="ci"><span>` + strings.ReplaceAll(esc(p.text), ", ", ",</span> <span>") + "</span></span>")
		default:
			b.WriteString(esc(p.text))
		}
	}
	return strings.TrimSpace(b.String())
}

// armMarks are the second cues of the arms' colours.
var armMarks = [looks]string{
	`<rect x="1.4" y="1.4" width="7.2" height="7.2"/>`, `<circle cx="5" cy="5" r="4"/>`, `<path d="M5 .8L9.4 8.6H.6z"/>`,
	`<path d="M5 .2L9.8 5 5 9.8.2 5z"/>`, `<path d="M3.4 0h3.2v3.4H10v3.2H6.6V10H3.4V6.6H0V3.4h3.4z"/>`, `<path d="M5 9.2L.6 1.4h8.8z"/>`,
}

func armHTML(a *arm) string {
	long := ""
	if len(a.Name) > 30 {
		long = " lg"
	}
	return fmt.Sprintf(`<span class="arm a%d%s"><svg viewBox="0 0 10 10" aria-hidden="true">%s</svg>%s</span>`, a.Look, long, armMarks[a.Look], esc(a.Name))
}

const (
	markPass = `<circle cx="8" cy="8" r="7.5"/><path class="k" d="M4.6 8.3l2.3 2.4 4.6-5"/>`
	markFail = `<path d="M4.9.5h6.2l4.4 4.4v6.2l-4.4 4.4H4.9L.5 11.1V4.9z"/><path class="k" d="M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4"/>`
	markInc  = `<path class="o" d="M8 1.2L14.8 8 8 14.8 1.2 8z"/><path class="o" d="M5.2 8h5.6"/>`
	markInv  = `<path class="o" d="M8 1.6L15 14.2H1z"/><path class="o" d="M8 6v4.4M8 12v.6"/>`
)

func verdictHTML(c cell, class string) string {
	mark, name := markInv, string(c.verdict)
	switch c.verdict {
	case rundir.Pass:
		mark = markPass
	case rundir.Fail, rundir.Errored:
		mark = markFail
	case rundir.Inconclusive:
		mark = markInc
	case rundir.Invalid, rundir.Interrupted:
	default:
		name = string(rundir.Invalid)
	}
	if class != "" {
		class = " " + class
	}
	return fmt.Sprintf(`<span class="v v-%s%s"><svg viewBox="0 0 16 16" aria-hidden="true">%s</svg>%s</span>`, name, class, mark, esc(upper(c.verdictWord())))
}

func (s *sheet) tilesHTML() string {
	if len(s.tiles) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<dl class="tiles">`)
	for _, t := range s.tiles {
		class := "big"
		if len([]rune(t.num)) > 6 || len([]rune(t.num)) > 4 && len(t.unit) > 2 {
			class = "big long"
		}
		fmt.Fprintf(&b, `<div><dt>%s</dt><dd class="%s">%s`, esc(t.label), class, esc(t.num))
		if t.unit != "" {
			fmt.Fprintf(&b, `<span class="u">%s</span>`, esc(t.unit))
		}
		fmt.Fprintf(&b, `</dd><dd class="iv">%s</dd><dd class="jd">`, esc(t.iv))
		if t.verdict != "" {
			b.WriteString(verdictHTML(cell{verdict: t.verdict, word: t.judged}, ""))
		} else {
			b.WriteString(`<span class="mu">` + esc(t.judged) + "</span>")
		}
		b.WriteString(`</dd><dd class="ot">`)
		for i, o := range t.others {
			if i > 0 {
				b.WriteString("<br>")
			}
			b.WriteString(armHTML(o.arm) + " " + esc(o.text))
		}
		b.WriteString("</dd></div>")
	}
	b.WriteString("</dl>")
	if s.subject != nil {
		b.WriteString(`<p class="note">Estimates for ` + armHTML(s.subject) + esc(s.tileNote()) + "</p>")
	}
	return b.String()
}

// tableHTML draws a table inside a region that scrolls and can be focused.
func tableHTML(t table) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<div class="scroll" role="region" aria-labelledby="%s" tabindex="0"><table class="%s"><caption id="%s">%s</caption><thead><tr>`,
		t.id, t.class, t.id, esc(t.caption))
	for _, c := range t.head {
		class, text := "", esc(c.text)
		if c.num {
			class = ` class="n"`
		}
		if c.arm != nil {
			text = armHTML(c.arm)
		}
		if text == "" {
			text = `<span class="vh">metric</span>`
		}
		fmt.Fprintf(&b, `<th scope="col"%s>%s</th>`, class, text)
	}
	b.WriteString("</tr></thead><tbody>")
	for _, r := range t.rows {
		rowHTML(&b, t, r)
	}
	b.WriteString("</tbody></table></div>\n")
	return b.String()
}

func rowHTML(b *strings.Builder, t table, r row) {
	if r.group != "" {
		name := esc(r.group)
		if len(r.cells) == 1 && r.cells[0].arm != nil {
			name = armHTML(r.cells[0].arm)
		}
		fmt.Fprintf(b, `<tr class="grp"><th scope="rowgroup" colspan="%d">%s</th></tr>`, len(t.head), name)
		return
	}
	if r.total {
		b.WriteString(`<tr class="tot">`)
	} else {
		b.WriteString("<tr>")
	}
	head := 0 // the cell that names the row
	if t.class == "obj" {
		head = 1
	}
	for i, c := range r.cells {
		class := ""
		if i < len(t.head) && t.head[i].num {
			class = ` class="n"`
		}
		body := cellHTML(c)
		if i == head && r.note != "" {
			body += `<span class="sub">` + esc(r.note) + "</span>"
		}
		if i == head {
			fmt.Fprintf(b, `<th scope="row"%s>%s</th>`, class, body)
		} else {
			fmt.Fprintf(b, `<td%s>%s</td>`, class, body)
		}
	}
	b.WriteString("</tr>")
}

func cellHTML(c cell) string {
	t := esc(c.text)
	switch {
	case c.verdict != "":
		return verdictHTML(c, "")
	case c.arm != nil:
		return armHTML(c.arm)
	case c.line > 0:
		return fmt.Sprintf(`<a href="#L%d">%s</a>`, c.line, t)
	case c.code:
		return "<code>" + t + "</code>"
	case c.quiet && t != "":
		t = `<span class="z">` + t + "</span>"
	case c.strong:
		t = "<b>" + t + "</b>"
	}
	if c.iv != "" {
		t += `<span class="ivl">` + esc(c.iv) + "</span>"
	}
	return t
}

func details(summary, body string) string {
	return "<details><summary>" + esc(summary) + "</summary>" + body + "</details>\n"
}

// sections are the page's, in the order of the reader's questions.
func (s *sheet) sections(data *Data) []section {
	var out []section
	add := func(id, short, title, lead, body string) {
		out = append(out, section{id, short, title, visible(lead), template.HTML(body)})
	}
	if len(s.run.Objectives) > 0 {
		add("objectives", "Objectives", "Objectives", s.objectivesLead(), tableHTML(s.objectives)+looksHTML(s.run))
	} else {
		add("objectives", "Objectives", "Objectives", s.objectivesLead(), "")
	}
	if body := s.scalingHTML(); body != "" {
		add("capacity", "Capacity", "How much it carries", "", body)
	}
	if body := s.chartHTML(1, s.timelineChart); body != "" {
		add("timeline", "Timeline", "What happened, second by second", s.closedLead(), body+s.storiesHTML())
	}
	if body := pairHTML(s.chartHTML(2, s.answeredChart), s.chartHTML(3, s.worstChart)) + s.chartHTML(8, s.spectrumChart); body != "" {
		add("users", "What users got", "What users got", s.closedLead(), body)
	}
	if len(s.events.rows) > 0 {
		add("events", "Event times", "How fast it came back", s.eventsLead(), s.chartHTML(5, s.momentsChart)+tableHTML(s.events))
	}
	if len(s.phases.rows) > 0 {
		add("phases", "By phase", s.phasesTitle(), strings.TrimSpace(s.phasesLead()+" "+s.closedLead()), s.chartHTML(4, s.versusChart)+tableHTML(s.phases))
	}
	if body := s.chartHTML(6, s.heatChart) + s.chartHTML(7, s.trafficChart) + s.chartHTML(9, s.flowChart); body != "" {
		add("closer", "Closer look", "A closer look", s.closedLead(), body)
	}
	if len(s.errors.rows) > 0 && !s.searches() {
		add("errors", "Errors", "Errors", s.errorsLead(), tableHTML(s.errors)+s.examplesHTML())
	}
	if len(s.writes.rows) > 0 {
		add("writes", "Writes", "What became of the writes", s.writesLead(), tableHTML(s.writes))
	}
	trust := tableHTML(s.trust) + s.chartHTML(10, s.orderChart)
	if len(s.effects.rows) > 0 {
		trust += "<h3>The faults, with their proof</h3>" + tableHTML(s.byTrial(s.effects))
	}
	if len(s.trials.rows) > 0 {
		trust += "<h3>The trials</h3>" + tableHTML(s.byTrial(s.trials))
	}
	add("trust", "Trust", "Can this be trusted?", s.trustLead(), trust)
	add("prov", "Provenance", "Provenance", "", s.provenanceHTML())
	add("data", "Data", "The data behind this page", "", dataHTML(data))
	add("read", "How to read", "How to read this report", "", s.howToRead())
	return out
}

// looksHTML says what was seen at each look of a planned extension, and why it ended.
func looksHTML(run *rundir.Run) string {
	lines := lookLines(run)
	if len(lines) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<h3>What was seen at each look</h3><ul class=\"why\">")
	for _, l := range lines {
		b.WriteString("<li>" + esc(l) + "</li>")
	}
	return b.String() + "</ul>\n"
}

func (s *sheet) examplesHTML() string {
	if len(s.examples.rows) == 0 {
		return ""
	}
	return details("Some of them, one by one, and the slowest answers", tableHTML(s.examples))
}

func (s *sheet) provenanceHTML() string {
	var b strings.Builder
	b.WriteString(`<dl class="prov">`)
	for _, e := range s.provenance {
		b.WriteString("<div><dt>" + esc(e.term) + "</dt>")
		for _, v := range e.values {
			if e.code {
				b.WriteString("<dd><code>" + esc(v) + "</code></dd>")
			} else {
				b.WriteString("<dd>" + esc(v) + "</dd>")
			}
		}
		b.WriteString("</div>")
	}
	b.WriteString("</dl>\n")
	if lines := s.sourceLines(); len(lines) > 0 {
		b.WriteString("<details open><summary>The scenario as run" + esc(nameSuffix(s.run.Provenance.Scenario)) +
			`</summary><div class="scroll" role="region" aria-label="Scenario text" tabindex="0"><ol class="src">`)
		for i, l := range lines {
			if l == "" {
				l = " "
			}
			fmt.Fprintf(&b, `<li id="L%d"><code>%s</code></li>`, i+1, esc(l))
		}
		b.WriteString("</ol></div></details>\n")
	}
	return b.String()
}

func nameSuffix(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// maxSource bounds the lines of a listing. Lines that an objective points to always have their anchor.
const maxSource = 4000

func (s *sheet) sourceLines() []string {
	text := strings.TrimRight(string(s.result.Source), "\n")
	var lines []string
	if text != "" {
		lines = strings.Split(strings.ReplaceAll(text, "\t", "    "), "\n")
	}
	need := 0
	for _, o := range s.run.Objectives {
		need = max(need, o.Line)
	}
	for len(lines) < min(need, maxSource) {
		lines = append(lines, "")
	}
	return lines[:min(len(lines), max(maxSource, need))]
}

func (s *sheet) howToRead() string {
	var b strings.Builder
	b.WriteString(`<dl class="read">`)
	item := func(dt, dd string) { b.WriteString("<div><dt>" + dt + "</dt><dd>" + esc(dd) + "</dd></div>\n") }
	item(verdictHTML(cell{verdict: rundir.Pass}, ""), "The bound of the interval lies on the good side of the limit.")
	item(verdictHTML(cell{verdict: rundir.Fail}, ""), "The estimate lies beyond the limit, and so does the bound; in a comparison the bound excludes “no change”.")
	item(verdictHTML(cell{verdict: rundir.Inconclusive}, ""), "Neither could be shown. The note says what is excluded, and about how many more blocks would decide.")
	item(verdictHTML(cell{verdict: rundir.Invalid}, ""), "The measurement itself is not to be trusted, whatever the numbers say.")
	item("Trial, block", "A trial is one fresh target under one schedule. A block holds one trial of each arm, in random order, with one seed. Intervals come from trials, never from single requests.")
	item("Interval", "Two-sided 95 %. From six trials on it makes no assumption on the noise; with three to five it does, and says so.")
	item("All requests", "A failed request has no latency: it never arrived. A percentile above the availability is therefore “never”, and no line is drawn across it.")
	if s.closed() {
		item("Latency", "From the moment a user was ready to send. "+ClosedNote)
	} else {
		item("Latency", "From the moment a request was due, not from when it was sent: a target that stalls cannot hide it.")
	}
	item("Nodes", "In rotation: it answers. Failing: it is tried, and does not answer. Not tried: it runs, and nobody sends it anything; the balancer has ejected it, or did not choose it. Down: the engine says that it does not run, or is frozen. Down, still tried: and requests are sent to it all the same, which is what a health check is to end.")
	item("Recovered", "From the onset to the start of the first 5 s (or 200 requests) that are as good as before, less one point. “> 15 s” means: not within the 15 s in which it could have been seen.")
	item("Lost requests", "Bad requests beyond the rate before the fault, up to the next fault or the end of load.")
	if len(s.faults) > 0 && !s.searches() {
		item("Share back", "From the fault’s end to the start of the first second in which each node that was hit gave 80"+nb+"% of its fair share of the answers.")
		item("Lost at least", "What the balancer’s own health check must lose of a fault that takes nodes away, by the scenario’s health_check and where nothing is tried twice: rate / nodes × nodes hit × (interval × (fails − ½), and its timeout where the dead are silent). Much more than that points to a setting that is not in force.")
		item("30 days afford", "How many times 30 days can lose what one trial lost, at an availability of 99.9"+nb+"%: their budget of 2,592"+nb+"s by the trial’s downtime, in which a second counts by its share of bad requests.")
	}
	if s.searches() {
		item("Capacity", "The highest rate whose hold met the condition: doubled until one did not, then the gap halved down to 5 %, and the lowest rate that was not met tried once more. “> 500” means: at least, because the search or the load generator came to its end. A hold that the generator is to blame for never counts as met.")
		item("The law", "Gunther’s Universal Scalability Law, λN / (1 + σ(N−1) + κN(N−1)), fitted to all trials that count by least squares of the logarithms, with σ and κ not below 0. The band is a pointwise two-sided 95 % interval, by the jackknife over blocks. Beyond the sizes that were measured it is a guess.")
	}
	if len(s.writes.rows) > 0 {
		item("Writes", "Acknowledged: answered as expected. Each of those is kept, lost (the last answer did not hold it when it was read back) or not read (no answer said anything). Uncertain: sent, and not answered so; it may be there or not, and is no loss. Where several writes share a key, a stale read held what had been overwritten, and acknowledged so, before it began; a key is linearizable if all that happened to it can be put into one order.")
	}
	var marks strings.Builder
	for _, a := range s.arms {
		marks.WriteString(armHTML(a))
	}
	if len(s.arms) > 0 {
		item(`<span class="arms">`+marks.String()+"</span>", "One colour, one mark and one dash each in the whole report; the baseline is square and dashed.")
	}
	b.WriteString("</dl>")
	return b.String()
}

// dataHTML says what the page carries, and what it does not.
func dataHTML(d *Data) string {
	but := ""
	if len(d.LeftOut) > 0 {
		but = ", but for what hangs on what is left out for its size: " + strings.Join(d.LeftOut, "; ")
	}
	return `<p class="lead">` + esc("Every number above can be computed again from the data in this file"+but+". The element with the id “run-data” holds it as JSON ("+DataSchema+
		"). Of each trial there are the requests due and good by window, histograms of the response times by phase, bad requests by class, node and phase, "+
		"the faults’ edges, how late requests were sent, and the metrics that need exact times; of figures 1, 2, 3, 6, 7 and 9 what they show.") + `</p><p id="save"></p>`
}
