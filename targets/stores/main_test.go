package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	o, err := parse([]string{"-store=redis", "-nodes=a,b:7", "-sentinels=c"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.nodes, []string{"a:6379", "b:7"}) || !slices.Equal(o.sentinels, []string{"c:26379"}) {
		t.Errorf("%+v", o)
	}
	for _, wrong := range [][]string{
		{"-store=mysql", "-nodes=a"}, {"-store=etcd"}, {"-store=etcd", "-nodes=a", "-limit=0"}, {"-store=etcd", "-nodes=a", "more"}, {"-bogus"},
	} {
		var said strings.Builder
		if _, err := parse(wrong, &said); !errors.Is(err, errUsage) || said.Len() == 0 {
			t.Errorf("%q: %v, said %q", wrong, err, said.String())
		}
	}
}
