package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	agentAddresses = 64 // kept free on each network for attached processes
	subnetTries    = 24
)

// subnet is one network of one trial, with every address planned: a node that is
// started again must have its old one, and the engine gives none twice.
type subnet struct {
	name   string // in the target
	id     string // the engine's
	prefix netip.Prefix
	nodes  map[string]netip.Addr // by replica name
	agents []netip.Addr          // for attached processes
}

// addressing says how many addresses a network needs, before it has any.
type addressing struct {
	name     string
	net      target.Network
	fixed    map[string]netip.Addr // addresses asked for in the file, by replica
	floating []string              // replicas that take the next free one, in order
}

// addressPlan lists, for each network, the replicas that may ever be on it.
func addressPlan(s target.Spec) ([]addressing, error) {
	var plan []addressing
	for _, name := range sortedKeys(s.Target.Networks) {
		a := addressing{name: name, net: s.Target.Networks[name], fixed: make(map[string]netip.Addr)}
		for _, service := range sortedKeys(s.Target.Services) {
			at, ok := s.Target.Services[service].Networks[name]
			if !ok {
				continue
			}
			for n := 1; n <= most(s, service); n++ {
				replica := replicaName(service, n)
				if n > 1 || at.Address == "" {
					a.floating = append(a.floating, replica)
					continue
				}
				addr, err := netip.ParseAddr(at.Address)
				if err != nil {
					return nil, fmt.Errorf("service %s: address on network %s: %w", service, name, err)
				}
				a.fixed[replica] = addr
			}
		}
		plan = append(plan, a)
	}
	return plan, nil
}

// most is the largest number of replicas that a service may get in this trial.
func most(s target.Spec, service string) int {
	return max(s.Replicas(service), s.MaxScale[service])
}

// bits is the prefix length that has room for everything: gateway, network and
// broadcast address, replicas and attached processes.
func (a addressing) bits() int {
	need := 3 + len(a.fixed) + len(a.floating) + agentAddresses
	bits := 24
	for ; bits > 8 && 1<<(32-bits) < need; bits-- {
	}
	return bits
}

// on fixes the plan to a prefix.
func (a addressing) on(prefix netip.Prefix) (*subnet, error) {
	s := &subnet{name: a.name, prefix: prefix, nodes: make(map[string]netip.Addr)}
	taken := make(map[netip.Addr]bool)
	for replica, addr := range a.fixed {
		if !prefix.Contains(addr) {
			return nil, fmt.Errorf("network %s: address %s of %s is not within its subnet %s", a.name, addr, replica, prefix)
		}
		if taken[addr] {
			return nil, fmt.Errorf("network %s: address %s is asked for twice", a.name, addr)
		}
		taken[addr] = true
		s.nodes[replica] = addr
	}
	// The first address is the network's, the second the gateway's.
	addr := prefix.Masked().Addr().Next()
	next := func() (netip.Addr, bool) {
		for {
			addr = addr.Next()
			if !prefix.Contains(addr) || !prefix.Contains(addr.Next()) { // the last one is for broadcasts
				return netip.Addr{}, false
			}
			if !taken[addr] {
				return addr, true
			}
		}
	}
	for _, replica := range a.floating {
		got, ok := next()
		if !ok {
			return nil, fmt.Errorf("network %s: its subnet %s has no room for %d replicas", a.name, prefix, len(a.fixed)+len(a.floating))
		}
		s.nodes[replica] = got
	}
	for range agentAddresses {
		if got, ok := next(); ok {
			s.agents = append(s.agents, got)
		}
	}
	if len(s.agents) == 0 {
		return nil, fmt.Errorf("network %s: its subnet %s has no address left for the load generator", a.name, prefix)
	}
	return s, nil
}

// makeNetworks makes a trial's own networks.
func (c *cluster) makeNetworks(ctx context.Context) error {
	plan, err := addressPlan(c.spec)
	if err != nil {
		return err
	}
	for _, a := range plan {
		if len(a.fixed)+len(a.floating) == 0 {
			continue // nobody is on it
		}
		s, err := c.makeNetwork(ctx, a)
		if err != nil {
			return err
		}
		c.nets[a.name] = s
	}
	return nil
}

func (c *cluster) makeNetwork(ctx context.Context, a addressing) (*subnet, error) {
	if a.net.Subnet != "" {
		prefix, err := netip.ParsePrefix(a.net.Subnet)
		if err != nil || !prefix.Addr().Is4() {
			return nil, fmt.Errorf("network %s: subnet %q is no IPv4 prefix", a.name, a.net.Subnet)
		}
		s, err := a.on(prefix.Masked())
		if err != nil {
			return nil, err
		}
		return s, c.createNetwork(ctx, a, s)
	}
	used, err := c.d.usedPrefixes(ctx)
	if err != nil {
		return nil, err
	}
	var last error
	for range subnetTries {
		prefix := randomPrefix(a.bits())
		if slices.ContainsFunc(used, prefix.Overlaps) {
			last = errors.New("every prefix tried is in use")
			continue
		}
		s, err := a.on(prefix)
		if err != nil {
			return nil, err
		}
		// Someone else may have taken it since we looked: then the engine says "overlaps".
		last = c.createNetwork(ctx, a, s)
		if last == nil {
			return s, nil
		}
		if !strings.Contains(last.Error(), "overlap") {
			return nil, last
		}
		used = append(used, prefix)
	}
	return nil, fmt.Errorf("no free subnet for network %s after %d tries: %w (see `docker network ls`; `tutti clean` removes what dead runs left)", a.name, subnetTries, last)
}

func (c *cluster) createNetwork(ctx context.Context, a addressing, s *subnet) error {
	ctx, cancel := whole(ctx)
	defer cancel()
	labels := c.labels("network")
	labels["com.docker.compose.network"] = a.name
	made, err := c.d.api.NetworkCreate(ctx, c.project+"_"+a.name, network.CreateOptions{
		Driver:   "bridge",
		Internal: a.net.Internal,
		IPAM:     &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: s.prefix.String()}}},
		Labels:   labels,
	})
	if err != nil {
		return fmt.Errorf("create network %s with subnet %s: %w", a.name, s.prefix, err)
	}
	s.id = made.ID
	return nil
}

// usedPrefixes are what the engine's networks and this machine's interfaces use. The
// engine refuses only the former.
func (d *Driver) usedPrefixes(ctx context.Context) ([]netip.Prefix, error) {
	list, err := d.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the engine's networks: %w", err)
	}
	var used []netip.Prefix
	for _, n := range list {
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil {
				used = append(used, p)
			}
		}
	}
	// Where the interfaces cannot be listed, the engine's own networks are what matters most.
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				used = append(used, p.Masked())
			}
		}
	}
	return used, nil
}

// randomPrefix draws a prefix from 10.64.0.0/10, away from the pools that engines
// (172.17–31, 192.168) and home routers use. Random and not counted up: several
// harnesses may be at it at once.
func randomPrefix(bits int) netip.Prefix {
	base := uint32(10)<<24 | uint32(64)<<16
	host := rand.Uint32N(1 << 22)
	ip := base | host
	addr := netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)})
	return netip.PrefixFrom(addr, max(bits, 10)).Masked()
}
