package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/targets/web"
)

func TestCommandLinesAreRefused(t *testing.T) {
	for _, c := range []struct {
		program, args string
		want          string // on stderr
	}{
		{"node", "--dealy 5ms", "flag provided but not defined: -dealy"},
		{"node", "--delay soon", `invalid value "soon"`},
		{"node", "--drain 0s", "-drain must be above 0"},
		{"node", "--acks-early 1s", "-acks-early wants a folder in -sessions"},
		{"node", "--at-once -1", "must be at least 0"},
		{"node", "more", `want 0 operands, got ["more"]`},
		{"balancer", "", "-to wants http://name:port"},
		{"balancer", "--to https://app:8080", "-to wants http://name:port"},
		{"balancer", "--to http://app:8080 --policy rr", `unknown policy "rr", want round-robin or least-conn`},
		{"balancer", "--to http://app:8080 --check-mode tcp", `unknown -check-mode "tcp", want http or connect`},
		{"balancer", "--to http://app:8080 --fails 0", "-fails and -passes must be at least 1"},
		{"balancer", "--to http://app:8080 --interval 0s", "must be above 0"},
		{"balancer", "--to http://app:8080 --check= --passive-fails 1", "-passive-fails wants a -check"},
		{"check", "", "want 1 operands"},
	} {
		var stderr bytes.Buffer
		code := web.Programs()[c.program](t.Context(), strings.Fields(c.args), io.Discard, &stderr)
		if code != 20 || !strings.Contains(stderr.String(), c.want) || !strings.Contains(stderr.String(), "usage: tutti target ") {
			t.Errorf("%s %q: exit code %d, and said %q; want 20, %q and the usage", c.program, c.args, code, stderr.String(), c.want)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	var stderr bytes.Buffer
	if code := web.Programs()["balancer"](t.Context(), []string{"--help"}, io.Discard, &stderr); code != 0 {
		t.Errorf("help gave exit code %d", code)
	}
	if !strings.Contains(stderr.String(), "-check-timeout") {
		t.Errorf("help says %s", stderr.String())
	}
}

func TestNodesAndCheckListenWhereTheyAreTold(t *testing.T) {
	t.Setenv(target.EnvListen, "127.0.0.2")
	t.Setenv(target.EnvNode, "app-3")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this system has no 127.0.0.2: %v", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port + "/healthz"
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	programs := web.Programs()
	check := func() int {
		return programs["check"](t.Context(), []string{url, "--timeout", "5s"}, io.Discard, io.Discard)
	}
	if check() != 1 {
		t.Fatal("the check passes with nobody there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stdout bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- programs["node"](ctx, []string{"--listen=:" + port, "--start-delay=50ms", "--lame-duck=0s"}, &stdout, io.Discard)
	}()
	eventually(t, "the check passes", func() bool { return check() == 0 })
	if a := get(t, newClient(t), "http://127.0.0.2:"+port+"/"); a.status != http.StatusOK || a.node != "app-3" {
		t.Errorf("the node answered %+v", a)
	}
	cancel()
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("the node ended with exit code %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not end")
	}
	var truth web.Truth
	if err := json.Unmarshal(stdout.Bytes(), &truth); err != nil || truth.Node != "app-3" || truth.OK != 1 {
		t.Errorf("its last words are %q (%v), want the count of one request", stdout.String(), err)
	}
}
