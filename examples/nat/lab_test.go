package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/golb/golb/examples/internal/exampletest"
	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// network is a client, golb's host and servers:
//
//	client .10 ── 192.0.2.0/24 ── .2 golb .1 ── 10.0.0.0/24 ── .11, .12 servers
type network struct{ client, golb *lab.Host }

func build(t *testing.T, servers ...string) network {
	t.Helper()
	l := exampletest.Lab(t)
	host := func(name string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	attach := func(h *lab.Host, sw *lab.Switch, name, addr string) {
		if _, err := l.Attach(h, sw, lab.LinkConfig{Name: name, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
			t.Fatal(err)
		}
	}
	front, err := l.Switch("front")
	if err != nil {
		t.Fatal(err)
	}
	back, err := l.Switch("back")
	if err != nil {
		t.Fatal(err)
	}
	n := network{client: host("client"), golb: host("golb")}
	attach(n.client, front, "eth0", "192.0.2.10/24")
	attach(n.golb, front, "eth0", "192.0.2.2/24")
	attach(n.golb, back, "eth1", "10.0.0.1/24")
	for i, addr := range servers {
		h := host(fmt.Sprint("server", i))
		attach(h, back, "eth0", addr+"/24")
		if err := h.DefaultRoute(netip.MustParseAddr("10.0.0.1")); err != nil {
			t.Fatal(err)
		}
		exampletest.Serve(t, h, "0.0.0.0:8080", func(client string) string { return addr + " greets " + client })
	}
	return n
}

func TestExampleBalances(t *testing.T) {
	n := build(t, "10.0.0.11", "10.0.0.12")
	program := exampletest.Start(t, n.golb, "-interfaces", "eth0,eth1", "-vip", "192.0.2.100:80", "-report", "100ms", "10.0.0.11:8080", "10.0.0.12:8080")
	program.Await("event: ready")
	const each = 10
	got := exampletest.Ask(t, n.client, "192.0.2.100:80", 2*each)
	// Each server sees the client's own address.
	if a, b := got["10.0.0.11 greets 192.0.2.10"], got["10.0.0.12 greets 192.0.2.10"]; len(got) != 2 || a+b != 2*each {
		t.Errorf("connections went to %v, want all to both servers", got)
	}
	program.Await(fmt.Sprintf("10.0.0.11:8080 up=true connections=%d ", got["10.0.0.11 greets 192.0.2.10"]))
	program.Stop()
}
