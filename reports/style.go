package reports

import (
	"image/color"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A styleRule is what the page's style sheet says of some classes of drawings.
type styleRule struct {
	classes   []string // all of which a mark must have; none: every text
	set       map[string]string
	important bool
}

// A styleSheet is what of page.css is about drawings, with the colours of light. Files of their own are drawn from it, so
// that they look as the page does.
type styleSheet struct{ rules []styleRule }

var (
	cssRule  = regexp.MustCompile(`([^{}]+)\{([^{}]*)\}`)
	cssVar   = regexp.MustCompile(`var\((--[a-z0-9]+)\)`)
	cssClass = regexp.MustCompile(`^(?:svg )?((?:\.[a-z0-9]+)+)$`)
)

// readStyle reads the sheet. It knows as much of CSS as page.css uses for drawings: classes, variables, and that later rules win.
func readStyle(css string) *styleSheet {
	css = withoutMedia(css)
	vars := make(map[string]string)
	s := &styleSheet{}
	for _, m := range cssRule.FindAllStringSubmatch(css, -1) {
		set := make(map[string]string)
		important := false
		for _, d := range strings.Split(m[2], ";") {
			k, v, ok := strings.Cut(d, ":")
			if !ok {
				continue
			}
			k, v = strings.TrimSpace(k), strings.TrimSpace(v)
			if strings.HasPrefix(k, "--") {
				vars[k] = v
				continue
			}
			if cut, found := strings.CutSuffix(v, "!important"); found {
				v, important = strings.TrimSpace(cut), true
			}
			set[k] = cssVar.ReplaceAllStringFunc(v, func(ref string) string { return vars[cssVar.FindStringSubmatch(ref)[1]] })
		}
		for _, sel := range strings.Split(m[1], ",") {
			sel = strings.TrimSpace(sel)
			switch c := cssClass.FindStringSubmatch(sel); {
			case sel == "svg text":
				s.rules = append(s.rules, styleRule{set: set, important: important})
			case c != nil:
				s.rules = append(s.rules, styleRule{classes: strings.Split(c[1][1:], "."), set: set, important: important})
			}
		}
	}
	return s
}

// withoutMedia drops the blocks for dark, narrow and paper.
func withoutMedia(css string) string {
	var b strings.Builder
	for {
		at := strings.Index(css, "@media")
		if at < 0 {
			return b.String() + css
		}
		b.WriteString(css[:at])
		depth, i := 0, at
		for ; i < len(css); i++ {
			if css[i] == '{' {
				depth++
			}
			if css[i] == '}' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		css = css[min(i+1, len(css)):]
	}
}

// of is how a mark of some classes looks.
func (s *styleSheet) of(class string, text bool) map[string]string {
	has := strings.Fields(class)
	out := make(map[string]string)
	for _, important := range []bool{false, true} {
		for _, r := range s.rules {
			if r.important != important || len(r.classes) == 0 && !text {
				continue
			}
			if !slices.ContainsFunc(r.classes, func(c string) bool { return !slices.Contains(has, c) }) {
				for k, v := range r.set {
					out[k] = v
				}
			}
		}
	}
	return out
}

// attributes are the properties of drawings as SVG has them.
func (s *styleSheet) attributes(class string, text bool) string {
	look := s.of(class, text)
	var b strings.Builder
	if text {
		size, ok := textSizes[class]
		if !ok {
			size = 13
		}
		b.WriteString(` font-size="` + strconv.FormatFloat(size, 'f', -1, 64) + `"`)
		if look["font-weight"] == "700" {
			b.WriteString(` font-weight="700"`)
		}
	}
	for _, k := range []string{"fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity"} {
		if v := look[k]; v != "" && !(text && strings.HasPrefix(k, "stroke")) {
			b.WriteString(" " + k + `="` + v + `"`)
		}
	}
	return b.String()
}

// hex reads a colour as page.css has it; anything else is none.
func hex(s string, opacity float64) (color.NRGBA, bool) {
	s, ok := strings.CutPrefix(s, "#")
	if len(s) == 3 {
		s = string([]byte{s[0], s[0], s[1], s[1], s[2], s[2]})
	}
	v, err := strconv.ParseUint(s, 16, 32)
	if !ok || len(s) != 6 || err != nil {
		return color.NRGBA{}, false
	}
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: uint8(opacity*255 + 0.5)}, true
}
