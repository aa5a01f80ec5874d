package process

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// listeningOn returns the TCP ports on which something listens on an IPv4 address, sorted as text.
func listeningOn(address string) ([]string, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, err
	}
	const file = "/proc/net/tcp"
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("find the ports of %s: %w", address, err)
	}
	defer f.Close()
	var ports []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local_address rem_address st …; the address is a number in the machine's order of bytes.
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != "0A" { // TCP_LISTEN
			continue
		}
		host, port, _ := strings.Cut(fields[1], ":")
		number, err := strconv.ParseUint(host, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%s has an address %q", file, host)
		}
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(number))
		if netip.AddrFrom4(b) != ip {
			continue
		}
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("%s has a port %q", file, port)
		}
		ports = append(ports, strconv.FormatUint(n, 10))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("find the ports of %s: %w", address, err)
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}
