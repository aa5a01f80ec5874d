package cmd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tutti-bench/tutti/cmd"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// A calm is a fault that does nothing, and says so.
type calm struct{}

func (calm) Inject(context.Context, *fault.Site, []target.Node) ([]target.Effect, fault.Revert, error) {
	return nil, nil, nil
}

// A program with one verb more than tutti has: its kit is a copy, and nothing is registered anywhere.
func ExampleMain() {
	kit := cmd.Builtin()
	kit.Faults["calm"] = fault.Kind{
		Summary: "nothing happens",
		Means:   "nobody does anything",
		New:     func(fault.Params) (fault.Fault, error) { return calm{}, nil },
	}
	dir, err := os.MkdirTemp("", "calm")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "calm.yaml")
	err = os.WriteFile(file, []byte(`version: 1
name: calm
target: {compose: compose.yaml, ingress: "http://app:8080"}
load: {rate: 10/s, for: 10s, requests: [GET /]}
faults:
  - {at: 1s, clam: app}
`), 0o600)
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	code := cmd.Main(kit, []string{"validate", file}, os.Stdin, &out, &out)
	fmt.Println(code, strings.Contains(out.String(), `did you mean "calm"?`)) // the parser knows the new verb
	// Output: 20 true
}
