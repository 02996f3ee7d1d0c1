package lb_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// waiting is a connection whose ends both wait for the other.
type waiting struct {
	client, server net.Conn
}

// wait opens one from the client to a listener of a server.
func wait(t *testing.T, client *lab.Host, ln net.Listener, to netip.AddrPort) waiting {
	t.Helper()
	var w waiting
	var err error
	w.client, err = client.DialContext(t.Context(), "tcp", to.String())
	must(t, err)
	t.Cleanup(func() { _ = w.client.Close() })
	w.server, err = ln.Accept()
	must(t, err)
	t.Cleanup(func() { _ = w.server.Close() })
	for _, x := range [][2]net.Conn{{w.client, w.server}, {w.server, w.client}} {
		_, err := x[0].Write([]byte("hello"))
		must(t, err)
		_, err = io.ReadFull(x[1], make([]byte, 5))
		must(t, err)
	}
	return w
}

// isReset waits for a reset, without sending anything.
func isReset(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(giveUpAfter))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("got %v, want a reset", err)
	}
	return nil
}

func TestCutConnectionsAreResetThoughTheirEndsAreSilent(t *testing.T) {
	const port = 81
	p := newTestNetwork(t, 0)
	p.addServers()
	cfg := p.config()
	for _, w := range p.ways {
		for _, f := range families {
			s := w.service(f, lb.TCP)
			s.Port, s.Servers[0].Port = port, port
			cfg.Services = append(cfg.Services, s)
		}
	}
	listeners := map[string]net.Listener{}
	for _, h := range p.hosts {
		ln, err := h.Listen(t.Context(), "tcp", fmt.Sprintf("[::]:%d", port))
		must(t, err)
		defer ln.Close()
		listeners[h.Name()] = ln
	}
	b, stop := p.run(cfg)
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		ln := listeners["direct"]
		switch w.server {
		case frontNet.at(12):
			ln = listeners["onearm"]
		case backNet.at(11):
			ln = listeners["twoarm"]
		}
		vip, server := netip.AddrPortFrom(w.vips[f], port), netip.AddrPortFrom(w.remote(f), port)
		var all []waiting
		for range 5 {
			all = append(all, wait(t, p.client, ln, vip))
		}
		must(t, b.Halt(refOf(vip, server)))
		for i, c := range all {
			if err := isReset(c.client); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if w.method != lb.NAT {
				continue
			}
			if err := isReset(c.server); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		}
	})
}
