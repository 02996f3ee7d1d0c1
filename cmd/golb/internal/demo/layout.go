package demo

import (
	"fmt"
	"net/netip"
	"strings"
)

const httpPort = 80

// layout is who is where: one network, one switch, everybody on it; or the servers
// on a second one, with golb in between.
type layout struct {
	vip     netip.Addr
	client  netip.Prefix
	golb    netip.Prefix
	gateway netip.Prefix // golb in the servers' network; the zero Prefix where there is none
	servers []serverPlan
}

type serverPlan struct {
	name   string
	addr   netip.Prefix
	weight int
}

// newLayout uses the addresses that are reserved for documentation (RFC 5737, RFC
// 3849).
func newLayout(ipv6, inside bool) layout {
	prefix, second, bits := "192.0.2.", "198.51.100.", 24
	if ipv6 {
		prefix, second, bits = "2001:db8::", "2001:db8:1::", 64
	}
	at := func(network, host string) netip.Prefix {
		return netip.PrefixFrom(netip.MustParseAddr(network+host), bits)
	}
	l := layout{vip: at(prefix, "100").Addr(), golb: at(prefix, "2"), client: at(prefix, "10")}
	servers := prefix
	if inside {
		servers = second
		l.gateway = at(second, "2")
	}
	for i := 1; i <= 3; i++ {
		l.servers = append(l.servers, serverPlan{fmt.Sprintf("s%d", i), at(servers, fmt.Sprintf("1%d", i)), i})
	}
	return l
}

// String says who is where.
func (l layout) String() string {
	var b strings.Builder
	if l.gateway.IsValid() {
		fmt.Fprintf(&b, "Two switches, five hosts: client %s, golb %s and %s", l.client, l.golb, l.gateway)
	} else {
		fmt.Fprintf(&b, "One switch, five hosts: client %s, golb %s", l.client, l.golb)
	}
	for _, s := range l.servers {
		fmt.Fprintf(&b, ", %s %s", s.name, s.addr)
	}
	return b.String() + "."
}

// weights is the sum of the servers' weights: as many connections share out evenly.
func (l layout) weights() int {
	n := 0
	for _, s := range l.servers {
		n += s.weight
	}
	return n
}

func (l layout) url(path string) string {
	return "http://" + netip.AddrPortFrom(l.vip, httpPort).String() + path
}
