package table_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault/table"
	"golang.org/x/sys/unix"
)

// asOwner is set in the environment of the process that TestKilled kills.
const asOwner = "TUTTI_TEST_OWNER"

// own puts the test into a network namespace that nobody else is in; it goes with the test's thread.
func own(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace of our own: %v", err)
	}
}

func open(t *testing.T) *table.Table {
	t.Helper()
	one, err := table.Open("tutti-test")
	if err != nil {
		t.Skipf("no table with the owner flag: %v", err)
	}
	t.Cleanup(func() { _ = one.Close() })
	return one
}

func tables(t *testing.T) []*nftables.Table {
	t.Helper()
	all, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestClosed(t *testing.T) {
	own(t)
	one := open(t)
	chain := one.Conn.AddChain(&nftables.Chain{
		Name: "in", Table: one.Table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw,
	})
	one.Conn.AddRule(&nftables.Rule{Table: one.Table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
	if err := one.Flush(); err != nil {
		t.Fatal(err)
	}
	rules, err := one.Conn.GetRules(one.Table, chain)
	if err != nil || len(rules) != 1 {
		t.Fatalf("the rule is not there: %v, %v", rules, err)
	}
	if all := tables(t); len(all) != 1 || all[0].Flags == 0 {
		t.Fatalf("no table with the owner flag: %+v", all)
	}
	for range 2 {
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if all := tables(t); len(all) != 0 {
		t.Fatalf("left behind: %+v", all[0])
	}
}

// What cannot be is refused as a whole, and what was in force stays, as does the connection's step.
func TestRefused(t *testing.T) {
	own(t)
	one := open(t)
	chain := one.Conn.AddChain(&nftables.Chain{
		Name: "in", Table: one.Table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw,
	})
	if err := one.Flush(); err != nil {
		t.Fatal(err)
	}
	add := func(to *nftables.Chain) {
		one.Conn.AddRule(&nftables.Rule{Table: one.Table, Chain: to, Exprs: []expr.Any{&expr.Counter{}}})
	}
	add(chain)
	add(&nftables.Chain{Name: "nowhere"})
	add(chain)
	if err := one.Flush(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("want that there is no such chain, got %v", err)
	}
	add(chain)
	if err := one.Flush(); err != nil {
		t.Fatalf("after a refusal: %v", err)
	}
	rules, err := one.Conn.GetRules(one.Table, chain)
	if err != nil || len(rules) != 1 {
		t.Fatalf("want the one rule, got %d: %v", len(rules), err)
	}
}

func TestTaken(t *testing.T) {
	own(t)
	open(t)
	if again, err := table.Open("tutti-test"); !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrExist) {
		t.Fatalf("a table of another's was opened: %+v, %v", again, err)
	}
	if all := tables(t); len(all) != 1 {
		t.Fatalf("want the first table alone, got %d", len(all))
	}
}

// The kernel removes the table of a process that was killed.
func TestKilled(t *testing.T) {
	if os.Getenv(asOwner) != "" {
		if _, err := table.Open("tutti-test"); err != nil {
			t.Skip(err)
		}
		_, _ = os.Stdout.WriteString("!")
		select {}
	}
	own(t)
	open(t).Close()
	c := exec.Command(os.Args[0], "-test.run=^TestKilled$") // inherits the namespace of this thread
	c.Env = append(os.Environ(), asOwner+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if all := tables(t); len(all) != 1 {
		t.Fatalf("want the other process's table, got %d", len(all))
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	for range 100 {
		if len(tables(t)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("its table outlived it")
}
