package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Table is a table of the family inet that belongs to us, and the connection that owns it.
//
// Chains, sets, rules and counters are added with the methods of Conn, with Table.Table as their table, and come
// into force together with [Table.Flush]:
//
//	t, err := table.Open("tutti-dns")
//	defer t.Close()
//	chain := t.Conn.AddChain(&nftables.Chain{Name: "in", Table: t.Table, …})
//	t.Conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: …})
//	err = t.Flush()
//
// Never give Table.Table to Conn.AddTable (it would ask the kernel to take the flag away, which it refuses), nor call
// Conn.FlushRuleset or Conn.Flush. Only this connection may change the table; any may read it.
type Table struct {
	Conn  *nftables.Conn
	Table *nftables.Table

	socket *netlink.Conn // Conn's own
}

// ownerFlag is the kernel's NFT_TABLE_F_OWNER (include/uapi/linux/netfilter/nf_tables.h).
const ownerFlag = 2

// patience is how long we wait for an answer that the kernel puts into the socket before it returns from our writing.
const patience = 5 * time.Second

// Open makes an empty table in the network namespace of the calling thread. A table of that name that is there
// already is an error that wraps [os.ErrExist] if nobody owns it, and [os.ErrPermission] if another socket does. Who
// opened a table closes it.
func Open(name string) (*Table, error) {
	t := &Table{Table: &nftables.Table{Name: name, Family: nftables.TableFamilyINet, Flags: ownerFlag}}
	var err error
	t.Conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		t.socket = c
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	if err := t.make(name, nftables.TableFamilyINet); err != nil {
		return nil, errors.Join(fmt.Errorf("nftables: make the table %s with the owner flag (Linux 5.12 or later): %w", name, err), t.Close())
	}
	return t, nil
}

// Add makes a table of the same name in another family, such as netdev. It is changed by the same Flush, and goes
// with the other one.
func (t *Table) Add(family nftables.TableFamily) (*nftables.Table, error) {
	if err := t.make(t.Table.Name, family); err != nil {
		return nil, fmt.Errorf("nftables: make the table %s of family %d: %w", t.Table.Name, family, err)
	}
	return &nftables.Table{Name: t.Table.Name, Family: family, Flags: ownerFlag}, nil
}

// make asks for a table by hand, as the library sends no flags.
func (t *Table) make(name string, family nftables.TableFamily) error {
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, ownerFlag)},
	})
	if err != nil {
		return err
	}
	header := func(family byte, resource uint16) []byte { // struct nfgenmsg
		return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	}
	if err := t.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	defer t.unlimited()
	_, err = t.socket.SendMessages([]netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)},
		{
			Header: netlink.Header{
				Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE,
				Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append(header(byte(family), 0), attributes...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)},
	})
	if err != nil {
		return err
	}
	_, err = t.socket.Receive()
	return err
}

// Flush puts what was asked of Conn into force, all of it or nothing: on error the kernel has what it had.
func (t *Table) Flush() error {
	if err := t.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	defer t.unlimited()
	err := t.Conn.Flush()
	if err == nil {
		return nil
	}
	// The library stops reading at some errors. What it left would answer the next command.
	for range 10_000 {
		if e := t.socket.SetReadDeadline(time.Now().Add(time.Millisecond)); e != nil {
			break
		}
		if _, e := t.socket.Receive(); errors.Is(e, os.ErrDeadlineExceeded) {
			break
		}
	}
	return fmt.Errorf("nftables: change the table %s: %w", t.Table.Name, err)
}

// unlimited takes the limit back, so that Conn can be read from later: the kernel answers such questions as they are
// written.
func (t *Table) unlimited() {
	_ = t.socket.SetReadDeadline(time.Time{}) // it fails on a closed socket alone, which fails by itself
}

// Close removes the table and all that is in it. It may be called twice.
func (t *Table) Close() error {
	if t.socket == nil {
		return nil
	}
	t.socket = nil
	if err := t.Conn.CloseLasting(); err != nil { // the kernel removes what the socket owns
		return fmt.Errorf("nftables: remove the table %s: %w", t.Table.Name, err)
	}
	return nil
}
