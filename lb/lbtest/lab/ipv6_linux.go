package lab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// kernelHasIPv6 says whether there is an IPv6 stack at all; a machine may have been started without.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// awaitIPv6 returns when others can find the interface's IPv6 addresses. The kernel adds an address at once but joins the
// group on which neighbours are asked for it later, from a work queue, and a solicitation lost to that costs a second.
func (s *space) awaitIPv6(ifname string) error {
	if !kernelHasIPv6() {
		return nil
	}
	deadline := time.Now().Add(readyWait)
	for {
		missing, err := s.notJoined(ifname)
		if err != nil || missing == nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s: %s not ready after %s", ifname, missing, readyWait)
		}
		time.Sleep(readyPoll)
	}
}

// notJoined returns an address of the interface whose solicited-node group (RFC 4291 section 2.7.1) it has not joined, or
// nil. Without a link-local address it names the prefix of that: the interface makes itself one.
func (s *space) notJoined(ifname string) (net.IP, error) {
	groups, err := s.groups(ifname)
	if err != nil {
		return nil, err
	}
	var up bool
	var addrs []netlink.Addr
	err = s.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) (err error) {
		up = link.Attrs().Flags&net.FlagLoopback == 0 && link.Attrs().OperState == netlink.OperUp
		addrs, err = nl.AddrList(link, netlink.FAMILY_V6)
		return err
	})
	if err != nil || !up {
		return nil, err
	}
	missing := net.IP{0xfe, 0x80, 15: 0}
	for _, a := range addrs {
		if !groups[solicitedNode(a.IP)] {
			return a.IP, nil
		}
		if a.IP.IsLinkLocalUnicast() {
			missing = nil
		}
	}
	return missing, nil
}

func solicitedNode(ip net.IP) string {
	return "ff0200000000000000000001ff" + hex.EncodeToString(ip[13:])
}

// groups lists the IPv6 multicast groups of an interface as /proc writes them, 32 hexadecimal digits.
func (s *space) groups(ifname string) (map[string]bool, error) {
	var text []byte
	err := s.do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/igmp6")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list multicast groups: %w", err)
	}
	joined := make(map[string]bool)
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > 2 && string(f[1]) == ifname {
			joined[string(f[2])] = true
		}
	}
	return joined, nil
}
