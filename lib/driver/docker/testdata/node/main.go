// Node is the program in the images that the driver's tests run.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
)

func main() {
	mode := "serve"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "serve":
		serve()
	case "probe": // a healthcheck
		get("http://localhost:8080/")
	case "get": // the body of each URL
		for _, url := range os.Args[2:] {
			get(url)
		}
	case "echo": // standard input to standard output, until it ends
		fmt.Println("ready")
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fail(err)
		}
	case "say":
		fmt.Println(strings.Join(os.Args[2:], " "))
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Join(os.Args[2:], " "))
		os.Exit(3)
	case "deaf": // ignores its stop signal
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		time.Sleep(time.Hour)
	case "helper": // that keeps nothing up
		if err := agent.Help(context.Background(), os.Stdin, os.Stdout, idle{}, time.Minute); err != nil {
			fail(err)
		}
	case "wait": // for the end of standard input
		fmt.Println("ready")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			fail(err)
		}
	case "cat": // a file
		b, err := os.ReadFile(os.Args[2])
		if err != nil {
			fail(err)
		}
		fmt.Print(string(b))
	case "hog": // memory until somebody minds
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
	default:
		fail(fmt.Errorf("unknown mode %q", mode))
	}
}

type idle struct{}

func (idle) Set(context.Context, agent.Parts) (agent.Outcome, error) { return agent.Outcome{}, nil }
func (idle) Read(context.Context) (agent.Parts, error)               { return agent.Parts{}, nil }
func (idle) Close() error                                            { return nil }

func serve() {
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM)
	go func() { <-done; fmt.Println("bye"); os.Exit(0) }()
	host, err := os.Hostname()
	if err != nil {
		fail(err)
	}
	fmt.Println("hello from", os.Getenv("TUTTI_NODE"))
	fail(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Node", host)
		fmt.Fprintln(w, os.Getenv("TUTTI_NODE"), os.Getenv("COLOUR"))
	})))
}

func get(url string) {
	client := &http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		fail(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
