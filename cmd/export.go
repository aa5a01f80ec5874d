package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/reports/export"
)

// exportFlags say what of a run goes where.
type exportFlags struct {
	format, table, arm, out string
	block                   int
}

func exportFormats() []string {
	return append([]string{"hdr", "benchmarks", "csv"}, export.VegetaFormats()...)
}

func tableNames() []string {
	var all []string
	for _, t := range export.Tables() {
		all = append(all, t.Name)
	}
	return all
}

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	var help strings.Builder
	for _, t := range export.Tables() {
		fmt.Fprintf(&help, "\n  %-12s %s", t.Name, t.Summary)
	}
	c := &cobra.Command{
		Use: "export RUN --format FORMAT", Short: "Write what a run measured for other tools",
		Long: `Export writes a run's measurements to standard output, or to --out.

hdr         a log of HdrHistogram, a histogram a second; the tags are ARM-BLOCK, in which a
            request that failed stands at 1 h, and ARM-BLOCK.ok, which has the good ones alone
benchmarks  Go benchmark lines, one for each trial, for benchstat
csv         one --table, or all of them into the folder --out
vegeta-gob, vegeta-csv, vegeta-json
            each request of a run that was recorded with --record; one trial, or all of
            them into the folder --out

--out is a file: folders above it are made, and a file that is there is replaced. It is a
folder of files, each named after its table or trial, for csv without --table, and for
vegeta's formats where it ends in a slash, has no extension or is a folder already, or where
several trials are exported.

Tables:` + help.String(),
		Args: exactly("RUN"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return &tutti.UsageError{Err: err}
			}
			res, err := tutti.Open(args[0])
			if err != nil {
				return notARun(err)
			}
			trials, err := export.Trials(res, f.arm, f.block)
			if err != nil {
				return &tutti.UsageError{Err: fmt.Errorf("export: %w", err)}
			}
			if err := a.export(res, trials, f); err != nil {
				err = fmt.Errorf("export: %w", err)
				if errors.Is(err, export.ErrNotRecorded) || errors.Is(err, errWhich) {
					return &tutti.UsageError{Err: err}
				}
				return err
			}
			return nil
		},
	}
	c.Flags().StringVar(&f.format, "format", "", strings.Join(exportFormats(), ", "))
	c.Flags().StringVar(&f.table, "table", "", "of csv: "+strings.Join(tableNames(), ", "))
	c.Flags().StringVar(&f.arm, "arm", "", "this arm alone")
	c.Flags().IntVar(&f.block, "block", 0, "this block alone")
	c.Flags().StringVar(&f.out, "out", "", "a file, or a folder where there are several (see above); unset: standard output")
	return c
}

func (f *exportFlags) check() error {
	switch {
	case f.format == "":
		return fmt.Errorf("export needs --format: one of %s", strings.Join(exportFormats(), ", "))
	case !slices.Contains(exportFormats(), f.format):
		return fmt.Errorf("--format %s: expected one of %s", f.format, strings.Join(exportFormats(), ", "))
	case f.table != "" && f.format != "csv":
		return fmt.Errorf("--table %s: only csv has tables", f.table)
	case f.table != "" && !slices.Contains(tableNames(), f.table):
		return fmt.Errorf("--table %s: expected one of %s", f.table, strings.Join(tableNames(), ", "))
	case f.format == "csv" && f.table == "" && f.out == "":
		return fmt.Errorf("csv has several tables: name one with --table (%s), or a folder for all with --out", strings.Join(tableNames(), ", "))
	case f.block < 0:
		return fmt.Errorf("--block %d: must be 1 or more", f.block)
	}
	return nil
}

// errWhich is that one stream cannot hold several trials.
var errWhich = errors.New("several trials")

// export writes one file or several.
func (a *app) export(res *tutti.Result, trials []export.Trial, f exportFlags) error {
	switch {
	case f.format == "hdr":
		return a.exportTo(f.out, func(w io.Writer) error { return export.HDR(w, res.Run.Name, trials) })
	case f.format == "benchmarks":
		return a.exportTo(f.out, func(w io.Writer) error { return export.Benchmarks(w, res, trials) })
	case f.format == "csv":
		for _, t := range export.Tables() {
			name := f.out
			switch f.table {
			case t.Name:
			case "":
				name = filepath.Join(f.out, t.Name+".csv")
			default:
				continue
			}
			if err := a.exportTo(name, func(w io.Writer) error { return export.CSV(w, t, trials) }); err != nil {
				return err
			}
		}
		return nil
	}
	if len(trials) > 1 && f.out == "" {
		return fmt.Errorf("%w of %s do not go into one stream: name one with --arm and --block, or a folder for all with --out", errWhich, f.format)
	}
	folder := f.folder(len(trials))
	if len(trials) > 1 && !folder {
		return fmt.Errorf("%w do not go into one file: name one with --arm and --block, or a folder for all with --out", errWhich)
	}
	for _, t := range trials {
		name := f.out
		if folder {
			name = filepath.Join(f.out, filepath.Base(filepath.FromSlash(t.Dir))+export.VegetaExtension(f.format))
		}
		if err := a.exportTo(name, func(w io.Writer) error { return export.Vegeta(w, res.Dir, t, f.format) }); err != nil {
			return err
		}
	}
	return nil
}

// folder reports whether --out is a folder for the requests of so many trials. What looks like a file is none where there is one trial to write.
func (f *exportFlags) folder(trials int) bool {
	if f.out == "" {
		return false
	}
	ext := filepath.Ext(f.out)
	return isFolder(f.out) || ext == "" || trials > 1 && ext != export.VegetaExtension(f.format)
}

// isFolder reports whether a name can be a folder's alone: it ends as one, or it is one.
func isFolder(name string) bool {
	info, err := os.Stat(name)
	return os.IsPathSeparator(name[len(name)-1]) || err == nil && info.IsDir()
}

// exportTo writes a file, whole or not at all, or standard output, of which that cannot be promised.
func (a *app) exportTo(name string, write func(io.Writer) error) error {
	if name == "" {
		return write(a.out)
	}
	if isFolder(name) {
		return &tutti.UsageError{Err: fmt.Errorf("--out %s: it is a folder; name a file in it", name)}
	}
	out := &outFile{name: name}
	if err := write(out); err != nil {
		return errors.Join(err, out.discard())
	}
	if err := out.keep(); err != nil {
		return errors.Join(err, out.discard())
	}
	fmt.Fprintln(a.err, name)
	return nil
}

// An outFile is a file that --out names. It and its folder are made when there is something to write, so that an export of nothing leaves
// nothing. What goes wrong with it is for who named it to mend.
type outFile struct {
	name string
	tmp  *os.File
}

// Write implements io.Writer.
func (o *outFile) Write(b []byte) (int, error) {
	if err := o.open(); err != nil {
		return 0, err
	}
	n, err := o.tmp.Write(b)
	return n, o.wrong(err)
}

func (o *outFile) open() error {
	if o.tmp != nil {
		return nil
	}
	dir := filepath.Dir(o.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return o.wrong(err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(o.name)+"-*")
	if err != nil {
		return o.wrong(err)
	}
	o.tmp = tmp
	return nil
}

// keep gives the file its name.
func (o *outFile) keep() error {
	if err := o.open(); err != nil {
		return err
	}
	err := errors.Join(o.tmp.Chmod(0o644), o.tmp.Close())
	if err == nil {
		err = os.Rename(o.tmp.Name(), o.name)
	}
	return o.wrong(err)
}

// discard takes away what is there of the file.
func (o *outFile) discard() error {
	if o.tmp == nil {
		return nil
	}
	_ = o.tmp.Close() // it may be closed, and nobody wants what is in it
	return os.Remove(o.tmp.Name())
}

func (o *outFile) wrong(err error) error {
	if err == nil {
		return nil
	}
	return &tutti.UsageError{Err: fmt.Errorf("--out: write %s: %w\n  name another file, in a folder that is there or can be made, and that can be written to", o.name, err)}
}
