package lb_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/golb/golb/lb"
)

// Ports of VIPs on which nobody answers.
const (
	noService  = 90 // no service has it
	noServer   = 91 // a service all of whose servers have weight 0
	noListener = 92 // on the server nothing listens
)

func TestRefusalsReachTheClientAtOnce(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	cfg := p.config()
	for _, w := range p.ways {
		for _, f := range families {
			for _, proto := range []lb.Protocol{lb.TCP, lb.UDP} {
				for _, port := range []uint16{noServer, noListener} {
					s := w.service(f, proto)
					s.Port, s.Servers[0].Port = port, port
					if port == noServer {
						s.Servers[0].Weight = new(int)
					}
					cfg.Services = append(cfg.Services, s)
				}
			}
		}
	}
	_, stop := p.run(cfg)
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		for _, port := range []uint16{noService, noServer, noListener} {
			at := netip.AddrPortFrom(w.vips[f], port).String()
			c, err := p.dial(w, f)(t.Context(), "tcp", at)
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("TCP port %d: %v, want it refused", port, err)
			}
			c, err = p.dial(w, f)(t.Context(), "udp", at)
			must(t, err)
			refusedUDP(t, c, port)
			must(t, c.Close())
		}
	})
	p.checkSums(t)
}

// refusedUDP sends until an error says that the port is unreachable. Kernels bound
// how many of those they send, so that one may be missing.
func refusedUDP(t *testing.T, c net.Conn, port uint16) {
	t.Helper()
	untilAnswered(t, fmt.Sprintf("UDP port %d", port), c, func() bool {
		_, err := c.Write([]byte("anybody?"))
		if err == nil {
			_, err = c.Read(make([]byte, 16))
		}
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !isTimeout(err) {
			t.Fatalf("UDP port %d: %v, want it refused", port, err)
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A golb that was started anew knows no connections. Their clients learn it with
// their next segment.
func TestSegmentsOfNoConnectionAreReset(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	_, stop := p.run(p.config())
	type open struct {
		net.Conn
		name string
	}
	var conns []open
	for _, w := range p.ways {
		for _, f := range families {
			c, err := p.dial(w, f)(t.Context(), "tcp", netip.AddrPortFrom(w.vips[f], httpPort).String())
			must(t, err)
			defer c.Close()
			conns = append(conns, open{c, fmt.Sprint(w.name, " ", f)})
		}
	}
	stop()
	_, stop = p.run(p.config())
	defer stop()
	for _, c := range conns {
		_, err := c.Write([]byte("GET "))
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(giveUpAfter)))
		if _, err = c.Read(make([]byte, 16)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want it reset", c.name, err)
		}
	}
}
