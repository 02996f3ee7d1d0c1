package lb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// On cables that take one packet a time and compute no checksum, kernels do in
// software what offload headers leave to be done, and receivers check everything.
// So what golb says in its offload headers shows.
func TestFramesOnTheWireAreWhole(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	without(t, p.golb, "eth0")
	without(t, p.golb, "eth1")
	b, stop := p.run(p.config())
	defer stop()
	for _, name := range []string{"super-packets come in", "plain packets come in"} {
		t.Run(name, func(t *testing.T) {
			if name == "plain packets come in" {
				for _, h := range p.hosts {
					without(t, h, "eth0")
				}
			}
			var captures []*capture
			for _, h := range p.hosts[1:] {
				captures = append(captures, startCapture(t, h))
			}
			p.each(t, func(t *testing.T, w way, f family) {
				p.transfer(t, w, f, 1<<20)
				c := p.dialEcho(t, w, f)
				for _, size := range []int{1, 1400, 1472, 3000} {
					echo(t, c, size)
				}
			})
			for _, c := range captures {
				c.end(t)
			}
		})
	}
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	if n := p.decapsulated(t).UnfinishedGRE; n > 0 {
		t.Errorf("%d GRE checksums were not computed", n)
	}
}

// without turns the sending offloads of an interface off, as ethtool -K does.
func without(t *testing.T, h *lab.Host, iface string) {
	t.Helper()
	t.Helper()
	must(t, h.SetFeatures(iface, false,
		"tx-checksum-ip-generic", "tx-checksum-sctp", "tx-generic-segmentation",
		"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-udp-segmentation"))
}

// capture checks the frames that a host receives.
type capture struct {
	host *lab.Host
	mac  net.HardwareAddr // frames from it are the host's own
	conn *packet.Conn
	done chan struct{}
	seen map[string]int // of what was checked, how often
	bad  []string
}

func startCapture(t *testing.T, h *lab.Host) *capture {
	t.Helper()
	c := &capture{host: h, conn: listen(t, h, "eth0"), done: make(chan struct{}), seen: map[string]int{}}
	c.mac = c.conn.LocalAddr().(*packet.Addr).HardwareAddr
	go c.run()
	return c
}

func (c *capture) run() {
	defer close(c.done)
	buf := make([]byte, 1<<17)
	for {
		n, _, err := c.conn.ReadFrom(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				c.bad = append(c.bad, err.Error())
			}
			return
		}
		c.take(buf[:n])
	}
}

// take checks a frame that is not the host's own.
func (c *capture) take(frame []byte) {
	if !bytes.Equal(frame[6:12], c.mac) {
		c.check(frame)
	}
}

// end waits until what is captured is checked, and says what was wrong.
func (c *capture) end(t *testing.T) {
	t.Helper()
	must(t, c.conn.SetReadDeadline(time.Now()))
	<-c.done
	drainCapture(t, c.conn, c.take)
	t.Logf("%s: checked %v", c.host.Name(), c.seen)
	if c.seen["TCP"] == 0 || c.seen["UDP"] == 0 {
		t.Errorf("%s: checked %v only", c.host.Name(), c.seen)
	}
	for i, bad := range c.bad {
		if i < 5 {
			t.Errorf("%s: %s", c.host.Name(), bad)
		}
	}
}

func (c *capture) check(frame []byte) {
	if len(frame) > forward.EthernetLen+1500 {
		c.bad = append(c.bad, fmt.Sprintf("frame of %d bytes", len(frame)))
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		c.checkIP(frame[forward.EthernetLen:])
	}
}

// checkIP checks lengths and checksums of a packet and of those that it carries.
func (c *capture) checkIP(b []byte) {
	fail := func(what string) { c.bad = append(c.bad, fmt.Sprintf("wrong %s: %x", what, b[:min(len(b), 100)])) }
	var proto byte
	var pseudo, p []byte
	if b[0]>>4 == 4 {
		n, total := 4*int(b[0]&15), int(binary.BigEndian.Uint16(b[2:]))
		if total > len(b) || onesSum(b[:n]) != 0xffff {
			fail("IPv4 header")
			return
		}
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			c.seen["fragments"]++
			return
		}
		proto, pseudo, p = b[9], b[12:20], b[n:total]
	} else {
		total := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			fail("IPv6 length")
			return
		}
		proto, pseudo, p = b[6], b[8:40], b[40:total]
	}
	pseudo = append(append([]byte{}, pseudo...), 0, proto, byte(len(p)>>8), byte(len(p)))
	switch proto {
	case unix.IPPROTO_TCP:
		c.seen["TCP"]++
		if onesSum(pseudo, p) != 0xffff {
			fail("TCP checksum")
		}
	case unix.IPPROTO_UDP:
		c.seen["UDP"]++
		if binary.BigEndian.Uint16(p[6:]) != 0 && onesSum(pseudo, p) != 0xffff {
			fail("UDP checksum")
		}
		if binary.BigEndian.Uint16(p[2:]) == guePort {
			c.seen["GUE"]++
			c.checkIP(p[12:])
		}
	case unix.IPPROTO_IPIP, unix.IPPROTO_IPV6:
		c.seen["IPIP"]++
		c.checkIP(p)
	case unix.IPPROTO_GRE:
		c.seen["GRE"]++
		at := 4
		if p[0]&0x80 != 0 {
			at = 8
			if onesSum(p) != 0xffff {
				fail("GRE checksum")
			}
		}
		c.checkIP(p[at:])
	case unix.IPPROTO_FRAGMENT:
		c.seen["fragments"]++
	}
}

// onesSum is the ones' complement sum of the parts (RFC 1071), all but the last of
// even length.
func onesSum(parts ...[]byte) uint16 {
	var s uint64
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			if i+1 < len(b) {
				s += uint64(b[i])<<8 | uint64(b[i+1])
			} else {
				s += uint64(b[i]) << 8
			}
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
