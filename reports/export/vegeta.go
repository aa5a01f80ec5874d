package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// VegetaFormats are vegeta's encodings, by the names that the command line has for them.
func VegetaFormats() []string { return []string{"vegeta-gob", "vegeta-csv", "vegeta-json"} }

// VegetaExtension is the usual end of a file in an encoding.
func VegetaExtension(format string) string { return "." + format[len("vegeta-"):] }

// ErrNotRecorded is that a run has its requests in sums alone.
var ErrNotRecorded = errors.New("its requests were not written down one by one")

// requestFiles are the files in which a trial's requests were written down, one for each of several agents.
var requestFiles = regexp.MustCompile(`^requests(-\d+)?\.(gob|csv|json)$`)

// Vegeta writes a trial's requests, as they were recorded one by one, in one of vegeta's encodings, those of several agents in turn. Dir is the run's
// folder. The error is [ErrNotRecorded] where they were not.
func Vegeta(w io.Writer, dir string, t Trial, format string) error {
	folder := filepath.Join(dir, filepath.FromSlash(t.Dir))
	if !filepath.IsLocal(filepath.FromSlash(t.Dir)) {
		return fmt.Errorf("trial folder %q is not within the run's", clean(t.Dir))
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("read a trial's folder: %w", err)
	}
	var decoders []vegeta.Decoder
	for _, e := range entries {
		if !e.Type().IsRegular() || !requestFiles.MatchString(e.Name()) {
			continue
		}
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		defer f.Close()
		decoders = append(decoders, decoderOf(e.Name(), bufio.NewReaderSize(f, 1<<20)))
	}
	if len(decoders) == 0 {
		return fmt.Errorf("block %d, %s: %w\n  tutti run --record %s does so", t.Block, clean(t.Arm), ErrNotRecorded, format)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if err := transcode(encoderOf(format, out), decoders); err != nil {
		return fmt.Errorf("requests of block %d, %s: %w", t.Block, clean(t.Arm), err)
	}
	return out.Flush()
}

// transcode writes what the decoders read, each in turn until its end.
func transcode(to vegeta.Encoder, from []vegeta.Decoder) error {
	for n := 0; len(from) > 0; {
		i := n % len(from)
		var r vegeta.Result
		err := from[i].Decode(&r)
		if errors.Is(err, io.EOF) {
			from = slices.Delete(from, i, i+1)
			continue
		}
		if err != nil {
			return fmt.Errorf("after %d of them: %w", n, err)
		}
		if err := to.Encode(&r); err != nil {
			return err
		}
		n++
	}
	return nil
}

func decoderOf(name string, r io.Reader) vegeta.Decoder {
	switch filepath.Ext(name) {
	case ".csv":
		return vegeta.NewCSVDecoder(r)
	case ".json":
		return vegeta.NewJSONDecoder(r)
	}
	return vegeta.NewDecoder(r)
}

func encoderOf(format string, w io.Writer) vegeta.Encoder {
	switch format {
	case "vegeta-csv":
		return vegeta.NewCSVEncoder(w)
	case "vegeta-json":
		return vegeta.NewJSONEncoder(w)
	}
	return vegeta.NewEncoder(w)
}
