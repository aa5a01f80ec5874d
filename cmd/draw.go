package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
	"golang.org/x/term"
)

// A drawing is one file of the reports.
type drawing struct {
	name string
	draw func(io.Writer, *tutti.Result) error
}

// drawings are the files drawn for every run.
func drawings(p reports.Policy) []drawing {
	return []drawing{
		{"report.html", reports.HTML},
		{"junit.xml", p.JUnit},
		{"summary.md", reports.Markdown},
		{"metrics.txt", reports.OpenMetrics},
	}
}

// draw writes the reports into the run's folder. A drawing that fails leaves the others,
// and run.json was there before.
func (a *app) draw(res *tutti.Result, p reports.Policy) error {
	folder, err := rundir.Open(res.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range drawings(p) {
		var b bytes.Buffer
		err := d.draw(&b, res)
		if err == nil {
			err = folder.WriteFile(d.name, b.Bytes())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("draw %s: %w", d.name, err))
		}
	}
	return errors.Join(errs...)
}

// show prints the result as the report says it.
func (a *app) show(res *tutti.Result) error {
	return reports.Text(a.out, res, reports.TextOptions{Width: width(a.out), Color: colour(a.out), Path: reportPath(res.Dir)})
}

// terminal reports whether w is one, and its file.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether to colour what goes to w: a terminal, and nobody said no.
func colour(w io.Writer) bool {
	_, tty := terminal(w)
	return tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// width is how many columns w has, 80 where it is no terminal.
func width(w io.Writer) int {
	columns, _ := size(w)
	return columns
}

// height is how many rows w has, 24 where it is no terminal.
func height(w io.Writer) int {
	_, rows := size(w)
	return rows
}

func size(w io.Writer) (columns, rows int) {
	if f, tty := terminal(w); tty {
		if c, r, err := term.GetSize(int(f.Fd())); err == nil && c > 0 && r > 0 {
			return c, r
		}
	}
	return 80, 24
}
