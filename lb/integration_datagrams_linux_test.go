package lb_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// datagramSizes are payloads around what fits one packet: 1452 or 1472 bytes on the
// wire, less in tunnels. Longer ones travel as fragments, both ways.
var datagramSizes = []int{
	1, 2, 7, 512,
	1372, 1373, 1400, 1412, 1413, 1424, 1428, 1429, 1432, 1433, 1440, 1444, 1445, 1452, 1453, 1454, 1472, 1473, 1480,
	2944, 8191, 8192, 30_001, 59_999, 60_000,
}

func TestEveryMethodCarriesDatagramsOfAllSizes(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	b, stop := p.run(p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		c := p.dialEcho(t, w, f)
		for _, size := range datagramSizes {
			echo(t, c, size)
		}
	})
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	p.checkHost(t)
}

// A sender that hands its kernel many datagrams at once (UDP_SEGMENT, as QUIC does)
// has them travel as one super-packet.
func TestEveryMethodCarriesUDPSuperPackets(t *testing.T) {
	const segment, count = 1200, 40
	p := newTestNetwork(t, 0)
	p.addServers()
	b, stop := p.run(p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		c := p.dialEcho(t, w, f)
		raw, err := c.(*net.UDPConn).SyscallConn()
		must(t, err)
		var serr error
		must(t, raw.Control(func(fd uintptr) {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment)
		}))
		must(t, serr)
		out, err := io.ReadAll(noise(segment*(count-1) + 7))
		must(t, err)
		missing := map[string]bool{}
		for part := range slices.Chunk(out, segment) {
			missing[string(part)] = true
		}
		buf := make([]byte, 1<<16)
		writes := uint64(0)
		untilAnswered(t, "super-packet", c, func() bool {
			writes++
			_, err := c.Write(out)
			must(t, err)
			for len(missing) > 0 {
				n, err := c.Read(buf)
				if err != nil {
					return false
				}
				delete(missing, string(buf[:n]))
			}
			return true
		})
		for _, s := range b.Stats().Services {
			if n := s.Servers[0].InPackets; s.Match[0].VIP.Addr() == w.vips[f] && s.Match[0].Protocols[0] == lb.UDP && n > writes {
				t.Errorf("%d packets came for %d writes: they are no super-packets", n, writes)
			}
		}
	})
	p.checkSums(t)
	p.checkDrops(t, b, lb.NotVIP)
}

// serveEcho sends every datagram back.
func serveEcho(t *testing.T, h *lab.Host, at netip.AddrPort) {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), "udp", at.String())
	must(t, err)
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				done <- err
				return
			}
			_, _ = c.WriteTo(buf[:n], from) // the client sends again
		}
	}()
	t.Cleanup(func() {
		c.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("echo on %s: %v", at, err)
		}
	})
}

func (p *testNetwork) dialEcho(t *testing.T, w way, f family) net.Conn {
	t.Helper()
	c, err := p.dial(w, f)(t.Context(), "udp", netip.AddrPortFrom(w.vips[f], echoPort).String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// How often a datagram is sent again, and for how long: it may be the one that
// finds the path's MTU.
const (
	resendEvery = 200 * time.Millisecond
	giveUpAfter = time.Minute
)

// echo sends a datagram until it comes back.
func echo(t *testing.T, c net.Conn, size int) {
	t.Helper()
	out := make([]byte, size)
	_, err := io.ReadFull(noise(int64(size)), out)
	must(t, err)
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(giveUpAfter); time.Now().Before(end); {
		if _, err := c.Write(out); err != nil && !errors.Is(err, syscall.EMSGSIZE) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		must(t, c.SetReadDeadline(time.Now().Add(resendEvery)))
		for {
			n, err := c.Read(buf)
			if err != nil {
				if !errors.Is(err, syscall.EMSGSIZE) && !isTimeout(err) {
					t.Fatalf("%d bytes: %v", size, err)
				}
				break
			}
			if bytes.Equal(buf[:n], out) {
				return
			}
		}
	}
	t.Fatalf("%d bytes did not come back", size)
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
