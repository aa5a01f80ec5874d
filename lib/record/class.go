package record

import "fmt"

// A Class says how one scheduled request ended. Exactly one class is good: [OK].
//
// The zero value is [Unsent]: a request nobody accounted for was never sent.
type Class uint8

// The classes, in the order in which reports list them.
const (
	Unsent    Class = iota // the generator never sent it (its own fault)
	OK                     // answered as expected within its deadline
	Wrong                  // answered, with another status, body or header than expected
	Slow                   // answered as expected, but after `within`
	Timeout                // not done by due + timeout
	Refused                // connection refused
	Reset                  // connection reset by the peer
	EOF                    // connection closed before an answer
	Truncated              // closed in the middle of an answer
	NoRoute                // host or network unreachable
	DNS                    // the name did not resolve
	Shed                   // the in-flight bound was full of requests the target held
	Local                  // the generator's own shortage: descriptors, ports
	numClasses
)

var classNames = [numClasses]string{
	"unsent", "ok", "wrong", "slow", "timeout", "refused", "reset",
	"eof", "truncated", "no-route", "dns", "shed", "local",
}

// Classes returns every class, in order.
func Classes() []Class {
	all := make([]Class, numClasses)
	for i := range all {
		all[i] = Class(i)
	}
	return all
}

// Good reports whether a request of this class counts as answered.
func (c Class) Good() bool { return c == OK }

// Own reports whether the generator, not the target, is to blame.
func (c Class) Own() bool { return c == Unsent || c == Local }

// String returns the class's name as objectives and reports write it.
func (c Class) String() string {
	if c < numClasses {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass is the inverse of [Class.String].
func ParseClass(s string) (Class, error) {
	for i, name := range classNames {
		if name == s {
			return Class(i), nil
		}
	}
	return Unsent, fmt.Errorf("unknown request class %q", s)
}

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's name.
func (c *Class) UnmarshalText(b []byte) error {
	v, err := ParseClass(string(b))
	if err != nil {
		return err
	}
	*c = v
	return nil
}
