// Command meter is the node that fidelity tests hit and ask.
//
//	meter serve
//	meter cat FILE
//
// UDP on port 9000 is echoed. TCP on port 9001 is read to its end and answered with how many bytes came in how many
// nanoseconds, the first second left out; on port 9002 as many bytes are written as go. HTTP on port 8080 has
// /, /slow?for=2s, /clock, /spin?for=1s, /dial?to=HOST:PORT&timeout=1s, /lookup?name=NAME and /write?path=FILE&bytes=N.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "meter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "cat" {
		b, err := os.ReadFile(args[1])
		if err == nil {
			_, err = os.Stdout.Write(b)
		}
		return err
	}
	if len(args) != 1 || args[0] != "serve" {
		return errors.New("usage: meter serve, or meter cat FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var l net.ListenConfig
	packets, err := l.ListenPacket(ctx, "udp", ":9000")
	if err != nil {
		return err
	}
	go echo(packets)
	for port, serve := range map[string]func(net.Conn){":9001": sink, ":9002": source} {
		listener, err := l.Listen(ctx, "tcp", port)
		if err != nil {
			return err
		}
		go accept(listener, serve)
	}
	server := &http.Server{Addr: ":8080", Handler: handler(), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func echo(c net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(b[:n], from)
	}
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// A Flow is what port 9001 answers.
type Flow struct {
	Bytes int64         `json:"bytes"`
	In    time.Duration `json:"in"`
}

// sink counts what comes after the first second, until the last byte.
func sink(c net.Conn) {
	var f Flow
	b := make([]byte, 256<<10)
	began := time.Now()
	var from, last time.Time
	for {
		n, err := c.Read(b)
		now := time.Now()
		if n > 0 && now.Sub(began) > time.Second {
			if from.IsZero() {
				from = now // what this read brought came before
			} else {
				f.Bytes += int64(n)
			}
			last = now
		}
		if err != nil {
			break
		}
	}
	f.In = last.Sub(from)
	_ = json.NewEncoder(c).Encode(f)
}

func source(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "here") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		wait(r.Context(), length(r, "for"))
		fmt.Fprintln(w, "at last")
	})
	mux.HandleFunc("/clock", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, time.Now().UnixNano())
	})
	mux.HandleFunc("/spin", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, spin(length(r, "for"))) })
	mux.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), length(r, "timeout"))
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", r.FormValue("to"))
		if err == nil {
			err = c.Close()
		}
		say(w, err)
	})
	mux.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), length(r, "timeout"))
		defer cancel()
		_, err := net.DefaultResolver.LookupHost(ctx, r.FormValue("name"))
		say(w, err)
	})
	mux.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("bytes"))
		if err == nil {
			err = os.WriteFile(r.FormValue("path"), make([]byte, n), 0o600)
		}
		say(w, err)
	})
	return mux
}

func say(w io.Writer, err error) {
	if err == nil {
		fmt.Fprintln(w, "ok")
		return
	}
	fmt.Fprintln(w, err)
}

func length(r *http.Request, name string) time.Duration {
	d, err := time.ParseDuration(r.FormValue(name))
	if err != nil {
		return time.Second
	}
	return d
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// spin keeps every processor busy and says how many turns it made.
func spin(d time.Duration) (turns uint64) {
	var all sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(d)
	for range runtime.NumCPU() {
		all.Go(func() {
			var n uint64
			for time.Now().Before(end) {
				n++
			}
			mu.Lock()
			defer mu.Unlock()
			turns += n
		})
	}
	all.Wait()
	return turns
}
