package process_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/process"
)

// alive reports whether a process runs: neither gone nor a zombie.
func alive(p *os.Process) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/stat")
	if err != nil {
		return false
	}
	state := string(text[strings.LastIndexByte(string(text), ')')+1:])
	return !strings.HasPrefix(state, " Z")
}

// TestNodesDieWithTheHarness kills a harness with SIGKILL, so that nothing in it can clean
// up. One node is frozen, which must not save it.
func TestNodesDieWithTheHarness(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "harness")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var nodes []*os.Process
	for in := bufio.NewScanner(out); in.Scan() && in.Text() != "up"; {
		id, ok := strings.CutPrefix(in.Text(), "node ")
		pid, err := strconv.Atoi(id)
		if !ok || err != nil {
			t.Fatalf("the harness says %q", in.Text())
		}
		nodes = append(nodes, &os.Process{Pid: pid})
	}
	if len(nodes) != 2 || !alive(nodes[0]) || !alive(nodes[1]) {
		t.Fatalf("the nodes %v do not run", nodes)
	}
	if err := syscall.Kill(nodes[0].Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the harness ended well")
	}
	end := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, n := range nodes {
		for alive(n) {
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("node %d outlives the harness", n.Pid)
			}
		}
	}
}

// TestPortThatIsTaken has a program that listens on all addresses, those of the nodes included.
func TestPortThatIsTaken(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tg := waiting(1)
	app := tg.Services["app"]
	app.Expose = []string{port}
	tg.Services["app"] = app
	_, err = process.New(process.Config{}).Up(t.Context(), spec(tg, ""))
	if err == nil || !strings.Contains(err.Error(), "node app-1: port "+port+" is not free") {
		t.Errorf("the error does not name node and port: %v", err)
	}
}
