package netfault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/netfault/table"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	probeTable = "tutti-probe"
	// tried is the loss that is asked for, of so many datagrams.
	triedShare, triedPackets = 0.5, 2000
	// probePatience is how long an answer over loopback may take.
	probePatience = 5 * time.Second
	triedRate     = 1_000_000
)

// attempt tries a primitive and says what it measured, if anything.
func (p Prober) attempt(ctx context.Context, name string) (string, error) {
	switch name {
	case rule.HasNFT:
		return "", onTable(nftables.ChainTypeFilter, nftables.ChainHookInput, nil, func(*table.Table, *nftables.Chain) error { return nil })
	case rule.HasNumgen:
		return tryLoss(ctx)
	case rule.HasReject:
		return tryReject(ctx)
	case rule.HasRedirect:
		to := binary.BigEndian.AppendUint16(nil, 9)
		return "", onTable(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, [][]expr.Any{{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Immediate{Register: 1, Data: to},
			&expr.Redir{RegisterProtoMin: 1},
		}}, func(*table.Table, *nftables.Chain) error { return nil })
	case rule.HasNFQueue:
		return "", p.carried(ctx, rule.Rule{Act: rule.Delay, Way: rule.WayNFQueue, Direction: rule.In, Delay: time.Millisecond})
	case rule.HasNetem:
		return "", onScratch(func(l netlink.Link) error {
			attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(shapeHandle, 0), Parent: netlink.HANDLE_ROOT}
			if err := netlink.QdiscAdd(netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{Latency: 1000})); err != nil {
				return fmt.Errorf("add a netem qdisc: %w", err)
			}
			return nil
		})
	case rule.HasTBF:
		return "", tryOut(triedRate)
	case rule.HasIFB:
		return "", tryIn(triedRate)
	case rule.HasResets:
		return tryResets(ctx)
	}
	return "", errors.New("nobody knows how to try it")
}

// onTable puts rules into a chain of a table of our own, calls f while they are in force, and removes it all.
func onTable(kind nftables.ChainType, hook *nftables.ChainHook, rules [][]expr.Any, f func(*table.Table, *nftables.Chain) error) (err error) {
	t, err := table.Open(probeTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	chain := &nftables.Chain{Name: "probe", Table: t.Table, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityRaw}
	if kind == nftables.ChainTypeNAT {
		chain.Priority = nftables.ChainPriorityNATDest
	}
	t.Conn.AddChain(chain)
	for _, exprs := range rules {
		t.Conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: exprs})
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return f(t, chain)
}

// toPort matches packets of a protocol to a port.
func toPort(protocol byte, port int) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, uint16(port))},
	}
}

// tryLoss loses datagrams over loopback.
func tryLoss(ctx context.Context) (measure string, err error) {
	to, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	address, _ := to.LocalAddr().(*net.UDPAddr)
	arrived := make(chan int, 1)
	count := make(chan struct{}, triedPackets)
	go func() { // ends when the socket is closed
		n, b := 0, make([]byte, 16)
		for {
			if _, _, err := to.ReadFrom(b); err != nil {
				arrived <- n
				return
			}
			n++
			count <- struct{}{}
		}
	}()
	lose := append(toPort(unix.IPPROTO_UDP, address.Port), lines(rule.Rule{Act: rule.Lose, Share: triedShare})[1].exprs...)
	err = onTable(nftables.ChainTypeFilter, nftables.ChainHookInput, [][]expr.Any{lose}, func(t *table.Table, chain *nftables.Chain) error {
		from, err := (&net.Dialer{}).DialContext(ctx, "udp4", address.String())
		if err != nil {
			return fmt.Errorf("send over loopback: %w", err)
		}
		defer from.Close()
		wait := time.NewTimer(probePatience)
		defer wait.Stop()
		for i := range triedPackets {
			if _, err := from.Write([]byte("probe")); err != nil {
				return fmt.Errorf("send over loopback: %w", err)
			}
			if i%100 == 99 { // the receiver's buffer is not what is tried
				if err := settle(t, chain, i+1, count, wait); err != nil {
					return err
				}
			}
		}
		return nil
	})
	err = errors.Join(err, to.Close())
	n := <-arrived
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("asked to lose %g %% of %d datagrams over loopback, lost %.4g %%", triedShare*100, triedPackets, 100*(1-float64(n)/triedPackets)), nil
}

// settle waits until all have been read that were not dropped, of those that were sent.
func settle(t *table.Table, chain *nftables.Chain, sent int, count <-chan struct{}, wait *time.Timer) error {
	rules, err := t.Conn.GetRules(t.Table, chain)
	if err != nil {
		return fmt.Errorf("nftables: read the counters: %w", err)
	}
	var d rule.Delivered
	for _, r := range rules {
		line{counts: countHit}.count(&d, r)
	}
	for len(count) < sent-int(d.Hit) {
		select {
		case <-wait.C:
			return fmt.Errorf("of %d datagrams over loopback %d were dropped, but %d have arrived", sent, d.Hit, len(count))
		case <-time.After(100 * time.Microsecond):
		}
	}
	return nil
}

// tryReject has a listening port refuse.
func tryReject(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	defer l.Close()
	address, _ := l.Addr().(*net.TCPAddr)
	reject := append(toPort(unix.IPPROTO_TCP, address.Port), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
	err = onTable(nftables.ChainTypeFilter, nftables.ChainHookInput, [][]expr.Any{reject}, func(*table.Table, *nftables.Chain) error {
		c, err := (&net.Dialer{Timeout: probePatience}).DialContext(ctx, "tcp4", address.String())
		if err == nil {
			return errors.Join(errors.New("the rule is there, but a connection is not refused"), c.Close())
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("the rule is there, but: %w", err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "a connection over loopback to a port that listens was refused", nil
}

// tryResets ends a connection over loopback from outside.
func tryResets(ctx context.Context) (string, error) {
	if err := canDestroy(); err != nil {
		return "", err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	defer l.Close()
	c, err := (&net.Dialer{Timeout: probePatience}).DialContext(ctx, "tcp4", l.Addr().String())
	if err != nil {
		return "", fmt.Errorf("connect over loopback: %w", err)
	}
	defer c.Close()
	d, err := newDiag()
	if err != nil {
		return "", err
	}
	defer d.conn.Close()
	all, err := d.list()
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if s.local.String() != c.LocalAddr().String() {
			continue
		}
		if err := d.end(s); err != nil {
			return "", fmt.Errorf("sock_diag: end a connection: %w", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(probePatience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return "", errors.New("the kernel says that it has ended a connection, but it goes on")
		}
		return "a connection over loopback was ended from outside", nil
	}
	return "", errors.New("the kernel does not list a connection that is there")
}
