package reports_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// luminance is that of WCAG 2.2 for a colour such as #0072b2 or #fff.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	hex = strings.TrimPrefix(hex, "#")
	if len(hex) == 3 {
		hex = fmt.Sprintf("%c%c%c%c%c%c", hex[0], hex[0], hex[1], hex[1], hex[2], hex[2])
	}
	v, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		t.Fatalf("%q is no colour", hex)
	}
	lin := func(c uint64) float64 {
		s := float64(c&0xff) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(v>>16) + 0.7152*lin(v>>8) + 0.0722*lin(v)
}

// TestContrast: text stands out from the page by 4.5 to 1, lines and marks by 3 to 1, in light, in dark and on paper (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`:root\{([^}]*)\}`).FindAllStringSubmatch(string(css), -1)
	if len(roots) != 3 {
		t.Fatalf("%d sets of colours, want light, dark and paper", len(roots))
	}
	light := make(map[string]string)
	for i, name := range []string{"light", "dark", "paper"} {
		vars := make(map[string]string)
		for k, v := range light {
			vars[k] = v
		}
		for _, m := range regexp.MustCompile(`--([a-z0-9]+):(#[0-9a-f]+)`).FindAllStringSubmatch(roots[i][1], -1) {
			vars[m[1]] = m[2]
		}
		if i == 0 {
			light = vars
		}
		against := func(v, ground string) float64 {
			if vars[v] == "" || vars[ground] == "" {
				t.Fatalf("%s: no colour %s or %s", name, v, ground)
			}
			a, b := luminance(t, vars[v])+0.05, luminance(t, vars[ground])+0.05
			return max(a, b) / min(a, b)
		}
		for _, text := range []string{"ink", "mu", "a0t", "a1t", "a2t", "a3t", "a4t", "a5t", "pass", "fail", "inc", "inv", "bandt"} {
			if c := against(text, "bg"); c < 4.5 {
				t.Errorf("%s: text in --%s stands out by %.2f", name, text, c)
			}
		}
		for _, line := range []string{"a0", "a1", "a2", "a3", "a4", "a5", "fail", "mu"} {
			if c := against(line, "bg"); c < 3 {
				t.Errorf("%s: lines in --%s stand out by %.2f", name, line, c)
			}
		}
		if c := against("ink", "soft"); c < 4.5 {
			t.Errorf("%s: the text of a button stands out by %.2f", name, c)
		}
	}
}
