package lab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelHasIPv6 says whether there is an IPv6 stack at all; a machine may have been started without.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// awaitIPv6 returns when the interface's IPv6 addresses work. The kernel adds an address at once, but joins the group on
// which neighbors are asked for it, and then routes it to itself, later, from a work queue. A packet that comes in between
// is lost, and a solicitation lost costs its sender a second.
func (s *space) awaitIPv6(ifname string) error {
	if !kernelHasIPv6() {
		return nil
	}
	deadline := time.Now().Add(readyWait)
	for {
		missing, err := s.notLocal(ifname)
		if err != nil || missing == nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s: %s not ready after %s", ifname, missing, readyWait)
		}
		time.Sleep(readyPoll)
	}
}

// notLocal returns an address of the interface that has no local route yet, or nil. If there is no link-local address, it
// names the prefix of that: an interface that is not lo makes itself one.
func (s *space) notLocal(ifname string) (net.IP, error) {
	local, err := s.localIPv6()
	if err != nil {
		return nil, err
	}
	var attrs *netlink.LinkAttrs
	var addrs []netlink.Addr
	err = s.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) (err error) {
		attrs = link.Attrs()
		addrs, err = nl.AddrList(link, netlink.FAMILY_V6)
		return err
	})
	if err != nil {
		return nil, err
	}
	loopback := attrs.Flags&net.FlagLoopback != 0
	if !loopback && attrs.OperState != netlink.OperUp {
		return nil, nil // nothing happens before it has carrier
	}
	linkLocal := loopback
	for _, a := range addrs {
		if !local[hex.EncodeToString(a.IP)] {
			return a.IP, nil
		}
		linkLocal = linkLocal || a.IP.IsLinkLocalUnicast()
	}
	if !linkLocal {
		return net.IP{0xfe, 0x80, 15: 0}, nil
	}
	return nil, nil
}

// localIPv6 is the set of addresses that the namespace takes packets for, as 32 hexadecimal digits.
func (s *space) localIPv6() (map[string]bool, error) {
	var table []byte
	err := s.do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/ipv6_route")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list IPv6 routes: %w", err)
	}
	const destination, flags = 0, 8
	local := make(map[string]bool)
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) <= flags {
			continue
		}
		if v, err := strconv.ParseUint(string(f[flags]), 16, 32); err == nil && v&unix.RTF_LOCAL != 0 {
			local[string(f[destination])] = true
		}
	}
	return local, nil
}
