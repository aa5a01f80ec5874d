// Package discovery makes nodes known in a discovery service, and finds them there: etcd, Consul or ZooKeeper.
//
// What is registered is bound to the life of the one who registered it (a lease, a check with a time to live, a session), so
// that a node which dies is forgotten. One that leaves withdraws itself.
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// A Node is what is registered.
type Node struct {
	Name    string // no two nodes share one
	Address string // host:port
}

// A Service is a discovery service. Its methods are safe for concurrent use.
type Service interface {
	// Hold registers a node and holds that until ctx ends; then it withdraws it and returns nil. It returns an error when
	// the registration could not be made or was lost.
	Hold(ctx context.Context, n Node) error
	// Watch tells the addresses of all registered nodes, now and whenever they change, until ctx ends, or returns why it can tell no
	// more.
	Watch(ctx context.Context, tell func(addresses []string)) error
}

// Times of all services.
const (
	dialLimit     = time.Second
	requestLimit  = 2 * time.Second
	withdrawLimit = time.Second
	life          = 10 * time.Second // of a registration that nobody renews
	again         = 500 * time.Millisecond
)

// Open returns the service at a URL: etcd://HOST:PORT,HOST:PORT, consul://… or zookeeper://…. It connects nowhere yet.
func Open(url string) (Service, error) {
	kind, rest, ok := strings.Cut(url, "://")
	var hosts []string
	for host := range strings.SplitSeq(rest, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			ok = false
		}
		hosts = append(hosts, host)
	}
	if ok {
		switch kind {
		case "etcd":
			return &etcd{hosts: hosts}, nil
		case "consul":
			return &consul{hosts: hosts}, nil
		case "zookeeper":
			return &zookeeper{hosts: hosts}, nil
		}
	}
	return nil, fmt.Errorf("discovery service %q: want etcd://HOST:PORT[,HOST:PORT…], consul://… or zookeeper://…", url)
}

// Keep holds a node's registration until ctx ends, and registers it again whenever that is lost.
func Keep(ctx context.Context, s Service, n Node, log *slog.Logger) {
	said := ""
	for {
		err := s.Hold(ctx, n)
		if ctx.Err() != nil {
			log.Info("withdrawn", "node", n.Name, "error", err)
			return
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			log.Warn("not registered", "node", n.Name, "error", err)
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
