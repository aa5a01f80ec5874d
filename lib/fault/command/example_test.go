package command_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/command"
	"github.com/tutti-bench/tutti/lib/target"
)

// A cache stands in for the nodes of a real cluster: it says what would be run in them.
type cache struct{ target.Cluster }

func (cache) Exec(_ context.Context, n target.Node, words []string) (target.Executed, error) {
	fmt.Printf("%s: %s\n", n.Name, strings.Join(words, " "))
	return target.Executed{From: time.Now(), To: time.Now(), Output: "OK\n"}, nil
}

// {at: 20s, for: 10s, exec: {service: cache, command: [redis-cli, config, set, …], undo: [redis-cli, config, set, …]}}
func ExampleExecKind() {
	f, err := command.ExecKind().New(fault.Params{
		"command": []string{"redis-cli", "config", "set", "min-replicas-to-write", "3"},
		"undo":    []string{"redis-cli", "config", "set", "min-replicas-to-write", "0"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := &fault.Site{Cluster: cache{}, Name: "no-writes"}
	effects, revert, err := f.Inject(context.Background(), site, []target.Node{{Name: "cache-1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(effects[0].Proof)
	if _, err := revert(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// cache-1: redis-cli config set min-replicas-to-write 3
	// exit code 0: OK
	// cache-1: redis-cli config set min-replicas-to-write 0
}
