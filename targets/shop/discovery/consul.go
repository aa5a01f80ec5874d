package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	consulName  = "shop"
	consulRenew = time.Second     // between renewals of a check
	consulWait  = 5 * time.Second // how long a question waits for a change
)

// consul registers nodes as a service with a check that they renew, at the first agent that answers. When that one is
// lost, they go to the next.
type consul struct {
	hosts []string
	turn  atomic.Uint32
}

// client returns a client of the agent whose turn it is, and what closes it.
func (c *consul) client(limit time.Duration) (client *api.Client, done func(), err error) {
	host := c.hosts[int(c.turn.Load())%len(c.hosts)]
	dialer := &net.Dialer{Timeout: dialLimit}
	h := &http.Client{
		Timeout:   limit,
		Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConns: 4, IdleConnTimeout: time.Minute},
	}
	client, err = api.NewClient(&api.Config{Address: host, HttpClient: h})
	return client, h.CloseIdleConnections, err
}

func (c *consul) Hold(ctx context.Context, n Node) (err error) {
	host, port, err := net.SplitHostPort(n.Address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	client, done, err := c.client(requestLimit)
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		if err != nil {
			c.turn.Add(1)
		}
	}()
	agent := client.Agent()
	// Its own name is the check's, too: the service has one.
	id := consulName + "-" + n.Name
	err = agent.ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: id, Name: consulName, Address: host, Port: number,
		Check: &api.AgentServiceCheck{
			CheckID: id, TTL: life.String(), Status: api.HealthPassing, DeregisterCriticalServiceAfter: "1m",
		},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("consul: register: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawLimit)
		defer cancel()
		// What cannot be withdrawn runs out.
		_ = agent.ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(end))
	}()
	every := time.NewTicker(consulRenew)
	defer every.Stop()
	for fails := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		err := agent.UpdateTTLOpts(id, "", api.HealthPassing, (&api.QueryOptions{}).WithContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if fails++; err == nil {
			fails = 0
		}
		if fails == 2 {
			return fmt.Errorf("consul: renew: %w", err)
		}
	}
}

func (c *consul) Watch(ctx context.Context, tell func([]string)) (err error) {
	// Consul adds up to a sixteenth to the wait.
	client, done, err := c.client(consulWait + requestLimit)
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		if err != nil {
			c.turn.Add(1)
		}
	}()
	var index uint64
	for ctx.Err() == nil {
		// Any server may answer, with a leader or without: an old list is better than none.
		got, meta, err := client.Health().Service(consulName, "", true,
			(&api.QueryOptions{WaitIndex: index, WaitTime: consulWait, AllowStale: true}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("consul: list nodes: %w", err)
		}
		if meta.LastIndex == 0 {
			return errors.New("consul: the answer has no index")
		}
		if meta.LastIndex < index {
			index = 0 // it began anew
			continue
		}
		index = meta.LastIndex
		found := make([]string, 0, len(got))
		for _, e := range got {
			found = append(found, net.JoinHostPort(e.Service.Address, strconv.Itoa(e.Service.Port)))
		}
		slices.Sort(found)
		tell(slices.Compact(found)) // one that went to another agent is there twice for a while
	}
	return ctx.Err()
}
