// Package hosts finds the addresses of host names inside a target's network. A
// driver whose nodes have no DNS of their own writes a file that stands in for
// it; everywhere else this is the system's resolver.
package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/tutti-bench/tutti/lib/target"
)

// maxFile bounds the file, in bytes.
const maxFile = 4 << 20

// Lookup returns every address of a host name and port, each as address:port, in
// the order in which the source lists them.
//
// The file that [target.EnvHosts] names goes first and is read anew by each call, since
// replicas come and go: its key "name:port" before its key "name". A name that
// is in neither goes to DNS. A name that exists without any address gives a [*net.DNSError]
// whose IsNotFound is set, as a missing name does.
func Lookup(ctx context.Context, name, port string) ([]string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return []string{net.JoinHostPort(name, port)}, nil
	}
	if file := os.Getenv(target.EnvHosts); file != "" {
		all, err := read(file)
		if err != nil {
			return nil, fmt.Errorf("find host %q: %w", name, err)
		}
		for _, key := range []string{net.JoinHostPort(name, port), name} {
			if found, ok := all[key]; ok {
				return join(name, port, found)
			}
		}
	}
	found, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("find host %q: %w", name, err)
	}
	return join(name, port, found)
}

// read reads the whole map. Its writer replaces the file and never changes it in place.
func read(file string) (map[string][]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is over %d bytes", file, maxFile)
	}
	var all map[string][]string
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s is no map of names to lists of addresses: %w", file, err)
	}
	return all, nil
}

// join gives every address a port, unless it has one.
func join(name, port string, found []string) ([]string, error) {
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	addrs := make([]string, len(found))
	for i, a := range found {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(a, port)
		}
		addrs[i] = a
	}
	return addrs, nil
}
