package demo

import (
	"fmt"
	"strings"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// mode is a method of forwarding as the demo shows it: what it asks of the servers,
// and what there is to see.
type mode struct {
	name   string
	method lb.Method
	tunnel lb.Tunnel
	title  string
	about  []string // lines of text
	// inside puts the servers into a network of their own, behind golb.
	inside  bool
	prepare func(server *lab.Host, l layout) error
	// commands are what prepare does, as an administrator would type it.
	commands    func(l layout, s serverPlan) []command
	tryOnServer command // a command to try on a server
}

type command struct{ text, why string }

// guePort is the UDP port that the servers take GUE on.
const guePort = 6080

func modes() []mode {
	return []mode{
		{
			name:   "dsr",
			method: lb.DSR,
			title:  "DSR, direct server return",
			about: []string{
				"client ──▶ golb ──▶ server     golb gives each packet its server's MAC address, takes 1 off the TTL and",
				"   ▲                   │       changes nothing else. The server sees the client's address and answers it",
				"   └───────────────────┘       directly: replies, the bulk of most traffic, never pass golb.",
			},
			prepare:     func(server *lab.Host, l layout) error { return server.SolveARPProblem(l.vip) },
			commands:    dsrCommands,
			tryOnServer: command{"tcpdump -neli eth0 port 80", "requests come from golb's MAC, replies go to the client's"},
		},
		{
			name:   "nat",
			method: lb.NAT,
			inside: true,
			title:  "NAT, network address translation",
			about: []string{
				"client ──▶ golb ──▶ server     golb gives each packet its server's address, and each reply the VIP's again.",
				"   ▲        │ ▲        │       Servers need nothing but golb as their gateway; they see the client's address.",
				"   └────────┘ └────────┘       Replies pass golb.",
			},
			prepare:     func(server *lab.Host, l layout) error { return server.DefaultRoute(l.gateway.Addr()) },
			commands:    natCommands,
			tryOnServer: command{"tcpdump -nli eth0 port 80", "requests are to the server's own address, from the client's"},
		},
		tunnelMode("tun", "TUN, IP in IP", lb.Tunnel{Type: lb.IPIP}),
		tunnelMode("gue", "TUN, generic UDP encapsulation", lb.Tunnel{Type: lb.GUE, Port: guePort}),
		tunnelMode("gre", "TUN, generic routing encapsulation", lb.Tunnel{Type: lb.GRE}),
	}
}

func tunnelMode(name, title string, t lb.Tunnel) mode {
	return mode{
		name:   name,
		method: lb.TUN,
		tunnel: t,
		title:  title,
		about: []string{
			"client ──▶ golb ══▶ server     golb wraps each packet in one to its server, which may be networks away. The",
			"   ▲                   │       server unwraps it, finds the VIP on its loopback, and answers the client",
			"   └───────────────────┘       directly: replies, the bulk of most traffic, never pass golb.",
		},
		prepare: func(server *lab.Host, l layout) error {
			if err := server.SolveARPProblem(l.vip); err != nil {
				return err
			}
			_, err := server.Decapsulate(lab.DecapConfig{GUEPort: guePort})
			return err
		},
		commands:    func(l layout, s serverPlan) []command { return tunnelCommands(t.Type, l, s) },
		tryOnServer: command{"tcpdump -nli eth0 not arp", "requests come inside others, replies go to the client as they are"},
	}
}

// Modes are the names that [Config].Mode takes.
func Modes() []string {
	var names []string
	for _, m := range modes() {
		names = append(names, m.name)
	}
	return names
}

func modeOf(name string) (mode, error) {
	for _, m := range modes() {
		if m.name == name {
			return m, nil
		}
	}
	return mode{}, fmt.Errorf("mode: %q: allowed: %s", name, strings.Join(Modes(), ", "))
}

func dsrCommands(l layout, _ serverPlan) []command {
	if l.vip.Is6() {
		return []command{{
			fmt.Sprintf("ip -6 address add %s/128 dev lo", l.vip),
			"take packets for the VIP; neighbor discovery ignores addresses of lo by itself",
		}}
	}
	return []command{
		{fmt.Sprintf("ip address add %s/32 dev lo", l.vip), "take packets for the VIP"},
		{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "but let golb alone answer ARP for it"},
		{"sysctl -w net.ipv4.conf.all.arp_announce=2", "and never name it in ARP requests"},
	}
}

func natCommands(l layout, _ serverPlan) []command {
	return []command{{fmt.Sprintf("ip route add default via %s", l.gateway.Addr()), "replies have to pass golb"}}
}

// tunnelCommands are those of a server whose kernel has the devices; the lab's need
// not, and has a helper take the packets out of the tunnel.
func tunnelCommands(t lb.TunnelType, l layout, s serverPlan) []command {
	device, family, mode := "tunl0", "", "gre"
	if l.vip.Is6() {
		device, family, mode = "ip6tnl0", " -6", "ip6gre"
	}
	list := dsrCommands(l, s)
	if t == lb.GUE {
		list = append(list, command{fmt.Sprintf("ip%s fou add port %d gue", family, guePort), "unwrap UDP"})
	}
	if t == lb.GRE {
		device = "gre1"
		list = append(list, command{fmt.Sprintf("ip%s tunnel add gre1 mode %s local %s", family, mode, s.addr.Addr()), "unwrap GRE"})
	}
	list = append(list, command{"ip link set " + device + " up", "take what is inside"})
	if !l.vip.Is6() {
		list = append(list, command{"sysctl -w net.ipv4.conf." + device + ".rp_filter=0", "though it is not the way back"})
	}
	return list
}
