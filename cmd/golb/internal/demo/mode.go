package demo

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// mode is a method of forwarding as the demo shows it: what it asks of the servers,
// and what there is to see.
type mode struct {
	name    string
	method  lb.Method
	title   string
	about   []string // lines of text
	prepare func(server *lab.Host, vip netip.Addr) error
	// commands are what prepare does, as an administrator would type it.
	commands func(vip netip.Addr) []command
}

type command struct{ text, why string }

func modes() []mode {
	return []mode{{
		name:   "dsr",
		method: lb.DSR,
		title:  "DSR, direct server return",
		about: []string{
			"client ──▶ golb ──▶ server     golb gives each packet its server's MAC address, takes 1 off the TTL and",
			"   ▲                   │       changes nothing else. The server sees the client's address and answers it",
			"   └───────────────────┘       directly: replies, the bulk of most traffic, never pass golb.",
		},
		prepare:  func(server *lab.Host, vip netip.Addr) error { return server.SolveARPProblem(vip) },
		commands: dsrCommands,
	}}
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

func dsrCommands(vip netip.Addr) []command {
	if vip.Is6() {
		return []command{{
			fmt.Sprintf("ip -6 address add %s/128 dev lo", vip),
			"take packets for the VIP; neighbour discovery ignores addresses of lo by itself",
		}}
	}
	return []command{
		{fmt.Sprintf("ip address add %s/32 dev lo", vip), "take packets for the VIP"},
		{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "but let golb alone answer ARP for it"},
		{"sysctl -w net.ipv4.conf.all.arp_announce=2", "and never name it in ARP requests"},
	}
}
