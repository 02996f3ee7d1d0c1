package lb_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// filled has 20 clients' connections to two persistent services, with their
// templates.
func filled(t *testing.T) *bench {
	t.Helper()
	var services []lb.Service
	for _, port := range []uint16{80, 443} {
		s := service(vip4, 2)
		s.Port, s.Scheduler, s.Persistence.Timeout = port, "rr", time.Minute
		services = append(services, s)
	}
	b := start(t, lb.Config{Services: services})
	for n := range 20 {
		b.picks(client(n), netip.AddrPortFrom(vip4, 80))
		b.picks(client(n), netip.AddrPortFrom(vip4, 443))
	}
	return b
}

// entries counts connections and templates.
func (b *bench) entries() (conns, templates int) {
	for c := range b.balancer.Connections {
		if c.Template {
			templates++
		} else {
			conns++
		}
	}
	return conns, templates
}

var deletions = []struct {
	name   string
	filter lb.ConnectionFilter
	want   int // of 40
}{
	{"all", lb.ConnectionFilter{}, 40},
	{"of a client", lb.ConnectionFilter{Client: netip.PrefixFrom(client(3).Addr(), 32)}, 2},
	{"of a client prefix", lb.ConnectionFilter{Client: netip.MustParsePrefix("198.51.100.0/29")}, 16},
	{"of a VIP", lb.ConnectionFilter{VIP: netip.AddrPortFrom(vip4, 0)}, 40},
	{"of a service", lb.ConnectionFilter{Protocol: lb.TCP, VIP: netip.AddrPortFrom(vip4, 443)}, 20},
	{"of another VIP", lb.ConnectionFilter{VIP: netip.AddrPortFrom(server4(9), 0)}, 0},
	{"of another protocol", lb.ConnectionFilter{Protocol: lb.UDP}, 0},
	{"of a server", lb.ConnectionFilter{Server: netip.AddrPortFrom(server4(1), 0)}, 20},
	{"of a client at a service", lb.ConnectionFilter{Client: netip.PrefixFrom(client(3).Addr(), 32), VIP: netip.AddrPortFrom(vip4, 80)}, 1},
}

func TestDeleteConnections(t *testing.T) {
	for _, tt := range deletions {
		t.Run(tt.name, func(t *testing.T) {
			b := filled(t)
			if got := b.balancer.DeleteConnections(tt.filter); got != tt.want {
				t.Errorf("deleted %d connections, want %d", got, tt.want)
			}
			if conns, templates := b.entries(); conns != 40-tt.want || templates != 40 {
				t.Errorf("%d connections and %d templates are left", conns, templates)
			}
		})
	}
	b := filled(t)
	b.balancer.DeleteConnections(lb.ConnectionFilter{Client: netip.PrefixFrom(client(1).Addr(), 32)})
	for n, want := range map[int]byte{1: 0xfe, 2: 2} { // rr begins with the newest server
		frames := b.send(client(n), netip.AddrPortFrom(vip4, 80), forward.FlagACK)
		if len(frames) != 1 || frames[0].Data[5] != want {
			t.Errorf("the next segment of client %d went to %d stations, want %d: a deleted connection is reset", n, len(frames), want)
		}
	}
	for i, s := range b.balancer.Stats().Services[0].Servers {
		if want := int64(9 + i); s.Active != want || s.Inactive != 0 {
			t.Errorf("%s counts %d active and %d inactive connections, want %d active", s.Name, s.Active, s.Inactive, want)
		}
	}
}

func TestDeleteTemplates(t *testing.T) {
	for _, tt := range deletions {
		for _, used := range []bool{true, false} {
			b := filled(t)
			if !used {
				b.balancer.DeleteConnections(lb.ConnectionFilter{})
			}
			if got := b.balancer.DeleteTemplates(tt.filter); got != tt.want {
				t.Errorf("%s: deleted %d templates, want %d", tt.name, got, tt.want)
			}
			if got := b.balancer.DeleteTemplates(tt.filter); got != 0 {
				t.Errorf("%s: and %d again", tt.name, got)
			}
			conns, templates := b.entries()
			if used && conns != 40 || !used && templates != 40-tt.want {
				t.Errorf("%s, connections left: %v: %d connections and %d templates are left", tt.name, used, conns, templates)
			}
		}
	}
	b := filled(t)
	to := netip.AddrPortFrom(vip4, 80)
	port := uint16(999)
	again := func(n int) netip.AddrPort { port++; return netip.AddrPortFrom(client(n).Addr(), port) }
	if got := b.picks(again(1), to); got != 1 {
		t.Fatalf("client 1: server %d, want that of its template", got)
	}
	b.balancer.DeleteTemplates(lb.ConnectionFilter{Client: netip.PrefixFrom(client(1).Addr(), 32)})
	if got := b.picks(again(1), to); got != 2 {
		t.Errorf("client 1 without template: server %d, want 2, whose turn it is", got)
	}
	if got := b.picks(again(3), to); got != 1 {
		t.Errorf("client 3: server %d, want that of its template", got)
	}
}

func TestTemplatesOfANetworkAreThoseOfItsClients(t *testing.T) {
	s := service(vip4, 2)
	s.Persistence = lb.Persistence{Timeout: time.Minute, Prefix: 28}
	b := start(t, lb.Config{Services: []lb.Service{s}})
	for n := range 20 { // of two networks
		b.picks(client(n), netip.AddrPortFrom(vip4, 80))
	}
	for c := range b.balancer.Connections {
		if c.Template != (c.Clients.Bits() == 28) {
			t.Errorf("%v, template %v: for %v", c.Client, c.Template, c.Clients)
		}
	}
	one := lb.ConnectionFilter{Client: netip.PrefixFrom(client(3).Addr(), 32)}
	if n := b.balancer.DeleteTemplates(one); n != 1 {
		t.Errorf("%d templates ended, want that of the client's network", n)
	}
}
