package httpload_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
)

// Of requests that are open for long, turbo keeps no goroutine; and they end as they should.
func TestOpenRequestsKeepNoGoroutine(t *testing.T) {
	const requests = 400
	var open, ok atomic.Int64
	counted := make(chan struct{})
	s := serve(t, &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		open.Add(1)
		<-counted
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err
	}})
	p := plan(t, s, requests, time.Second)
	p.Engine, p.Timeout = load.Turbo, time.Minute
	go func() {
		defer close(counted)
		n := requests
		for limit := time.Now().Add(20 * time.Second); n > requests/4 && time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
			if open.Load() == requests {
				n = workers()
			}
		}
		if n > requests/4 {
			t.Errorf("%d goroutines wait while %d requests are open", n, open.Load())
		}
	}()
	err := new(httpload.Generator).Generate(t.Context(), p, func(time.Time) {}, func(x record.Sample) {
		if x.Class == record.OK {
			ok.Add(1)
		}
	})
	<-counted
	if err != nil || ok.Load() != requests {
		t.Errorf("%d are good, %v", ok.Load(), err)
	}
}

// workers is how many goroutines a turbo has for requests now.
func workers() int {
	buf := make([]byte, 8<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("httpload.(*gate).work("))
}
