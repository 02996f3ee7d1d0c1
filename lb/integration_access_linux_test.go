package lb_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/lb"
)

// TestClientsThatAReloadShutsOutGetNothing: neither by a new connection nor on one that
// they have; and all once they are let in again.
func TestClientsThatAReloadShutsOutGetNothing(t *testing.T) {
	const silence = 300 * time.Millisecond // long enough for an answer in the lab
	p := newTestNetwork(t, 0)
	p.addServers()
	p.ways = p.ways[:4] // of each method
	cfg := p.config()
	b, stop := p.run(cfg)
	defer stop()
	dial := func(t *testing.T, w way, f family, within time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return p.dial(w, f)(ctx, "tcp", netip.AddrPortFrom(w.vips[f], httpPort).String())
	}
	open := map[string]net.Conn{}
	p.each(t, func(t *testing.T, w way, f family) {
		c, err := dial(t, w, f, giveUpAfter)
		must(t, err)
		open[w.name+f.String()] = c
	})
	shut := cfg
	shut.Services = append([]lb.Service(nil), cfg.Services...)
	for i := range shut.Services {
		for _, w := range p.ways {
			for _, f := range families {
				shut.Services[i].Deny = append(shut.Services[i].Deny, lb.Prefix{Prefix: netip.PrefixFrom(w.client[f], w.client[f].BitLen())})
			}
		}
	}
	must(t, b.Apply(t.Context(), shut))
	b.Stats() // expires, which ends connections
	p.each(t, func(t *testing.T, w way, f family) {
		if c, err := dial(t, w, f, silence); !isTimeout(err) {
			t.Errorf("a new connection: %v, want silence", err)
			if err == nil {
				c.Close()
			}
		}
		c := open[w.name+f.String()]
		defer c.Close()
		_, err := c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(silence)))
		if _, err := c.Read(make([]byte, 16)); !isTimeout(err) {
			t.Errorf("on the connection that it has: %v, want silence", err)
		}
	})
	if b.Stats().Drops[lb.Denied] == 0 {
		t.Error("nobody was denied")
	}
	must(t, b.Apply(t.Context(), cfg))
	p.each(t, func(t *testing.T, w way, f family) {
		c, err := dial(t, w, f, giveUpAfter)
		must(t, err)
		c.Close()
	})
}
