// Node is the program in the images that the driver's tests run.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
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
	default:
		fail(fmt.Errorf("unknown mode %q", mode))
	}
}

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
