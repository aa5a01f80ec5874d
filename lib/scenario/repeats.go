package scenario

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/stats"
)

// maxRepeats bounds blocks.
const maxRepeats = 1000

// An extension is what `repeats` says: so many blocks, or at least so many and at most so many.
type extension struct{ least, most int }

// repeats is the form of `repeats`, an extension.
type repeats struct{}

var rangePattern = regexp.MustCompile(`^[0-9]+\.\.[0-9]+$`)

// rangeSchema is what a schema can say of a range.
const rangeSchema = `^([6-9]|[1-9][0-9]{1,3})\.\.[1-9][0-9]{0,3}$`

func (repeats) String() string {
	return fmt.Sprintf("a whole number from 1 to %d, or a range such as 6..12", maxRepeats)
}

func (repeats) schema() object {
	return object{"anyOf": []object{
		{"type": "integer", "minimum": 1, "maximum": maxRepeats},
		{"type": "string", "pattern": rangeSchema},
	}}
}

func (f repeats) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	least, most, err := ParseRepeats(n.Value)
	if v, ok := coreInt(n); ok && v >= 1 && v <= maxRepeats {
		return extension{least: int(v)}, true
	}
	if err != nil {
		r.wrong(n, "%s", err).expect("%s", f)
		return nil, false
	}
	if most == 0 { // a number in quotes, or out of range: ParseRepeats has told the latter
		return r.want(n, f)
	}
	return extension{least, most}, true
}

// ParseRepeats reads what `repeats` may be: 6, or 6..12. most is 0 without a range. A range begins with
// [stats.MinSignedRank] blocks or more: below that there are no bounds that hold at several looks. It is no wider than [slo.Widest]. The
// error says which of these is not so, in words.
func ParseRepeats(s string) (least, most int, err error) {
	if v, nerr := strconv.Atoi(s); nerr == nil {
		if v < 1 || v > maxRepeats {
			return 0, 0, fmt.Errorf("%s is out of range", quote(s))
		}
		return v, 0, nil
	}
	if !rangePattern.MatchString(s) {
		return 0, 0, fmt.Errorf("%s is no number of blocks", quote(s))
	}
	from, to, _ := strings.Cut(s, "..")
	least, err = strconv.Atoi(from)
	if err == nil {
		most, err = strconv.Atoi(to)
	}
	switch {
	case err != nil || most > maxRepeats:
		return 0, 0, fmt.Errorf("%s is out of range", quote(s))
	case most <= least:
		return 0, 0, fmt.Errorf("%s does not rise", quote(s))
	case least < stats.MinSignedRank:
		return 0, 0, fmt.Errorf("%s begins too low: an interval that is looked at several times takes %d blocks", quote(s), stats.MinSignedRank)
	case most > slo.Widest(least):
		return 0, 0, fmt.Errorf("%s is too wide: after %d blocks nothing could be told yet, and %d..%d is the widest that begins there", quote(s), least, least, slo.Widest(least))
	}
	return least, most, nil
}
