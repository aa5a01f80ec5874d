package netfault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Messages of sock_diag, from include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	diagByFamily = 20
	diagDestroy  = 21

	diagRequest = 56   // bytes of struct inet_diag_req_v2
	diagReply   = 72   // … of struct inet_diag_msg
	diagID      = 48   // … of struct inet_diag_sockid, in both
	anyCookie   = 0xff // in all bytes of the cookie: whichever socket has the addresses
)

// lively are the states of TCP in which a socket is a connection: all but TIME_WAIT (6), CLOSE (7) and LISTEN (10).
const lively = 0xfff &^ (1<<6 | 1<<7 | 1<<10)

// diagPatience is how long the kernel may take for an answer.
const diagPatience = 5 * time.Second

// A socket is a connection as sock_diag tells it.
type socket struct {
	family        byte
	id            []byte // struct inet_diag_sockid
	local, remote netip.AddrPort
}

// diag asks the kernel about its sockets.
type diag struct{ conn *netlink.Conn }

func newDiag() (diag, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return diag{}, fmt.Errorf("sock_diag: %w", err)
	}
	if err := c.SetDeadline(time.Now().Add(diagPatience)); err != nil {
		return diag{}, errors.Join(fmt.Errorf("sock_diag: %w", err), c.Close())
	}
	return diag{c}, nil
}

func request(family byte, states uint32, id []byte) []byte {
	b := []byte{family, unix.IPPROTO_TCP, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, states)
	return append(b, id...)
}

// list tells the connections of the namespace.
func (d diag) list() ([]socket, error) {
	var all []socket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		replies, err := d.conn.Execute(netlink.Message{
			Header: netlink.Header{Type: diagByFamily, Flags: netlink.Request | netlink.Dump},
			Data:   request(family, lively, make([]byte, diagID)),
		})
		if err != nil {
			return nil, fmt.Errorf("sock_diag: list connections: %w", err)
		}
		for _, r := range replies {
			if len(r.Data) < diagReply {
				return nil, fmt.Errorf("sock_diag: list connections: %d bytes of %d", len(r.Data), diagReply)
			}
			all = append(all, parseSocket(r.Data))
		}
	}
	return all, nil
}

func parseSocket(b []byte) socket {
	s := socket{family: b[0], id: slices.Clone(b[4 : 4+diagID])}
	address := func(at int) netip.Addr {
		if s.family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(s.id[at : at+4]))
		}
		return netip.AddrFrom16([16]byte(s.id[at : at+16])).Unmap()
	}
	s.local = netip.AddrPortFrom(address(4), binary.BigEndian.Uint16(s.id))
	s.remote = netip.AddrPortFrom(address(20), binary.BigEndian.Uint16(s.id[2:]))
	return s
}

// end resets one connection: both of its ends learn of it. One that is gone wraps [os.ErrNotExist].
func (d diag) end(s socket) error {
	_, err := d.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: diagDestroy, Flags: netlink.Request | netlink.Acknowledge},
		Data:   request(s.family, 0, s.id),
	})
	return err
}

// canDestroy asks the kernel to end a connection that does not exist.
func canDestroy() error {
	d, err := newDiag()
	if err != nil {
		return err
	}
	defer d.conn.Close()
	if _, err := d.list(); err != nil {
		return err // without tcp_diag the answer below would be the one that we hope for
	}
	none := socket{family: unix.AF_INET, id: make([]byte, diagID)}
	copy(none.id, []byte{0, 9, 0, 9, 127, 0, 0, 1})
	copy(none.id[20:], []byte{127, 0, 0, 1})
	for i := diagID - 8; i < diagID; i++ {
		none.id[i] = anyCookie
	}
	if err := d.end(none); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sock_diag: end a connection: %w", err)
	}
	return nil
}

// destroy resets the connections between peers (none: anybody but the node itself) and the node's own ports (none: all),
// and says how many.
func destroy(peers []netip.Addr, ports []uint16) (int, error) {
	d, err := newDiag()
	if err != nil {
		return 0, err
	}
	defer d.conn.Close()
	all, err := d.list()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range all {
		if !concerns(s, peers, ports) {
			continue
		}
		switch err := d.end(s); {
		case err == nil:
			n++
		case errors.Is(err, os.ErrNotExist): // ended by itself meanwhile
		default:
			return n, fmt.Errorf("sock_diag: end the connection %v-%v: %w", s.local, s.remote, err)
		}
	}
	return n, nil
}

func concerns(s socket, peers []netip.Addr, ports []uint16) bool {
	if len(ports) > 0 && !slices.Contains(ports, s.local.Port()) {
		return false
	}
	if len(peers) > 0 {
		return slices.ContainsFunc(peers, func(a netip.Addr) bool { return a.Unmap().WithZone("") == s.remote.Addr() })
	}
	return !s.remote.Addr().IsLoopback() && s.remote.Addr() != s.local.Addr()
}
