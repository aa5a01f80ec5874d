package httpload

import (
	"strings"

	"github.com/tutti-bench/tutti/lib/record"
)

// maxAttempts bounds how many names are read from one attempts header; the
// recording keeps no more.
const maxAttempts = 16

// attempts returns the names in an attempts header, in order: its lines and its lists,
// which nginx separates by ", " and " : ". It returns nil if there is no such header, and
// an empty list if it names nobody.
func attempts(lines []string) []string {
	if lines == nil {
		return nil
	}
	names := []string{}
	for _, line := range lines {
		line = strings.ReplaceAll(line, " : ", ",")
		for name := range strings.SplitSeq(line, ",") {
			name = clean(name)
			if name == "" || name == "-" {
				continue
			}
			if len(names) == maxAttempts {
				return names
			}
			names = append(names, name)
		}
	}
	return names
}

// clean copies what a recording keeps of a name, so that a sample does not keep the whole header alive, which may be a megabyte.
func clean(name string) string {
	name = strings.TrimSpace(name)
	return strings.Clone(name[:min(len(name), record.MaxName)])
}
