package scenario_test

import (
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/scenario"
)

// What would blow up a careless reader is refused, and soon: the suite's time limit is the judge.
func TestHostileFiles(t *testing.T) {
	const size = 256 << 10
	fill := func(head, part, tail string) string {
		return head + strings.Repeat(part, (size-len(head)-len(tail))/len(part)) + tail
	}
	for name, src := range map[string]string{
		"one byte too many":       strings.Repeat("#", 1<<20+1),
		"unknown keys, one line":  fill("{", "a: 1, ", "}"),
		"unknown keys":            fill("", "a: 1\n", ""),
		"long names":              fill("", strings.Repeat("x", 1000)+": 1\n", ""),
		"open brackets":           fill("", "[", ""),
		"brackets":                strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"open mappings":           fill("", "{a: ", ""),
		"nested keys":             fill("a:\n", " b:\n", ""),
		"one long text":           fill("version: 1\nname: ", "x", ""),
		"one long quoted text":    fill("version: 1\nname: \"", `\x41`, "\""),
		"one long objective":      fill("objectives: ['", "(", "']"),
		"bad indentation far out": fill("", "#a: 1\n", "a: 1\n  b: 2\n c: 3\n"),
		"aliases":                 fill("a: &a [x, x, x, x, x, x, x, x, x, x]\nb: [", "*a, ", "]"),
		"anchors":                 fill("", "&a ", "x"),
		"requests":                fill("load: {requests: [", "GET, ", "]}"),
		"sessions":                fill("load: {requests: [", "{steps: [GET]}, ", "]}"),
		"steps":                   fill("load: {requests: [{steps: [", "GET /{{.Captured.a}}, ", "]}]}"),
		"sessions in sessions":    fill("load: {requests: [", "{steps: [", "]}"),
		"captures":                fill("load: {requests: [{steps: [{GET: /, capture: {", "a: $..b, ", "}}]}]}"),
		"a path into JSON":        fill("load: {requests: [{steps: [{GET: /, capture: {a: '$", "[0]", "x'}}]}]}"),
		"a regular expression":    fill("load: {requests: [{steps: [{GET: /, capture: {a: {match: '", "(a*", "'}}}]}]}"),
		"captured names":          fill("load: {requests: [{steps: [GET /, 'GET /", "{{.Captured.a}}", "']}]}"),
		"a template":              fill("load: {requests: ['GET /", "{{.Seq}}", "']}"),
		"nested template":         fill("load: {requests: ['GET /", "{{if .Seq}}", "']}"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.Parse("hostile.yaml", []byte(src), kinds())
			errs, ok := err.(scenario.Errors) //nolint:errorlint // Parse returns it bare
			if !ok {
				t.Fatalf("taken: %v", err)
			}
			if len(errs) > 60 || len(errs.Pretty()) > 60_000 {
				t.Errorf("%d errors, %d bytes", len(errs), len(errs.Pretty()))
			}
			for _, e := range errs {
				checkPlaces(t, []byte(src), scenario.Errors{e})
			}
		})
	}
}
