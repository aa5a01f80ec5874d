package fault

import "time"

// A ParamType is the form that a parameter's value has in the file.
type ParamType string

// The forms, and the Go type that each has in [Params].
const (
	Duration ParamType = "duration" // 250ms: time.Duration
	// SignedDuration may be below 0: -250ms. Params.Duration returns it.
	SignedDuration ParamType = "signed duration"
	Count          ParamType = "count"    // a whole number from 0: int
	Number         ParamType = "number"   // above 0: float64
	Share          ParamType = "share"    // 10%, as a ratio above 0 and at most 1: float64
	BitRate        ParamType = "bit rate" // 1mbit, in bits per second: int64
	Size           ParamType = "size"     // 64MiB, in bytes: int64
	Port           ParamType = "port"     // 1…65535: int
	Status         ParamType = "status"   // of HTTP, 100…599: int
	Path           ParamType = "path"     // of a URL: string
	Word           ParamType = "word"     // one of Words: string
	Text           ParamType = "text"     // any: string
	Switch         ParamType = "switch"   // true or false: bool
	Peer           ParamType = "peer"     // a service, or one of its replicas: string
	Groups         ParamType = "groups"   // [a, b], or [[a, b], [c]], of peers: [][]string
	Command        ParamType = "command"  // a list of words, or a text that is split into words: []string
)

// A Param is one parameter of a verb.
type Param struct {
	Name     string
	Type     ParamType
	Words    []string // of a Word
	Required bool
	Summary  string // default and all
	// Alone: where it is given, no service is: the parameter itself says which nodes (between; from with to).
	Alone bool
}

// Params are parsed parameters. An absent one is not in the map.
type Params map[string]any

// Duration returns a duration, or def if it is absent.
func (p Params) Duration(name string, def time.Duration) time.Duration { return param(p, name, def) }

// Count returns a whole number (Count, Port, Status), or def if it is absent.
func (p Params) Count(name string, def int) int { return param(p, name, def) }

// Number returns a number (Number, Share), or def if it is absent.
func (p Params) Number(name string, def float64) float64 { return param(p, name, def) }

// Amount returns a size in bytes or a bit rate in bits per second, or def if it is absent.
func (p Params) Amount(name string, def int64) int64 { return param(p, name, def) }

// Text returns a text (Path, Word, Text, Peer), or def if it is absent.
func (p Params) Text(name, def string) string { return param(p, name, def) }

// On reports whether a switch is there and on.
func (p Params) On(name string) bool { return param(p, name, false) }

// Words returns a command, nil if it is absent.
func (p Params) Words(name string) []string { return param[[]string](p, name, nil) }

// Groups returns groups of peers, nil if they are absent.
func (p Params) Groups(name string) [][]string { return param[[][]string](p, name, nil) }

// Has reports whether a parameter is there.
func (p Params) Has(name string) bool {
	_, ok := p[name]
	return ok
}

func param[T any](p Params, name string, def T) T {
	if v, ok := p[name].(T); ok {
		return v
	}
	return def
}
