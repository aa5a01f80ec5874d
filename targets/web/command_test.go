package web_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
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
		run  func(context.Context, []string, io.Writer) error
		args string
		want string // on stderr
	}{
		{web.RunNode, "--dealy 5ms", "flag provided but not defined: -dealy"},
		{web.RunNode, "--delay soon", `invalid value "soon"`},
		{web.RunNode, "--drain 0s", "-drain must be above 0"},
		{web.RunNode, "more", `want 0 operands, got ["more"]`},
		{web.RunBalancer, "", "-to wants http://name:port"},
		{web.RunBalancer, "--to https://app:8080", "-to wants http://name:port"},
		{web.RunBalancer, "--to http://app:8080 --policy rr", `unknown policy "rr", want round-robin or least-conn`},
		{web.RunBalancer, "--to http://app:8080 --fails 0", "-fails and -passes must be at least 1"},
		{web.RunBalancer, "--to http://app:8080 --interval 0s", "must be above 0"},
		{web.RunBalancer, "--to http://app:8080 --check= --passive-fails 1", "-passive-fails wants a -check"},
		{web.RunCheck, "", "want 1 operands"},
	} {
		var stderr bytes.Buffer
		err := c.run(t.Context(), strings.Fields(c.args), &stderr)
		if !errors.Is(err, web.ErrUsage) || !strings.Contains(stderr.String(), c.want) || !strings.Contains(stderr.String(), "usage: tutti target ") {
			t.Errorf("%q: %v, and said %q; want %q and the usage", c.args, err, stderr.String(), c.want)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	var stderr bytes.Buffer
	if err := web.RunBalancer(t.Context(), []string{"--help"}, &stderr); !errors.Is(err, flag.ErrHelp) || errors.Is(err, web.ErrUsage) {
		t.Errorf("help gave %v", err)
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
	check := func() error { return web.RunCheck(t.Context(), []string{url, "--timeout", "5s"}, io.Discard) }
	if check() == nil {
		t.Fatal("the check passes with nobody there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- web.RunNode(ctx, []string{"--listen=:" + port, "--start-delay=50ms", "--lame-duck=0s"}, io.Discard)
	}()
	eventually(t, "the check passes", func() bool { return check() == nil })
	if a := get(t, newClient(t), "http://127.0.0.2:"+port+"/"); a.status != http.StatusOK || a.node != "app-3" {
		t.Errorf("the node answered %+v", a)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not end")
	}
}
