package demo

import (
	"fmt"
	"net/netip"
)

const httpPort = 80

// layout is who is where: one network, one switch, everybody on it.
type layout struct {
	vip     netip.Addr
	client  netip.Prefix
	golb    netip.Prefix
	servers []serverPlan
}

type serverPlan struct {
	name   string
	addr   netip.Prefix
	weight int
}

// newLayout uses the addresses that are reserved for documentation (RFC 5737, RFC
// 3849).
func newLayout(ipv6 bool) layout {
	prefix, bits := "192.0.2.", 24
	if ipv6 {
		prefix, bits = "2001:db8::", 64
	}
	at := func(host string) netip.Prefix {
		return netip.PrefixFrom(netip.MustParseAddr(prefix+host), bits)
	}
	l := layout{vip: at("100").Addr(), golb: at("2"), client: at("10")}
	for i := 1; i <= 3; i++ {
		l.servers = append(l.servers, serverPlan{fmt.Sprintf("s%d", i), at(fmt.Sprintf("1%d", i)), i})
	}
	return l
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
