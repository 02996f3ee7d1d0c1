package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/golb/golb/examples/internal/exampletest"
	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func TestExampleBalances(t *testing.T) {
	l := exampletest.Lab(t)
	sw, err := l.Switch("switch")
	if err != nil {
		t.Fatal(err)
	}
	host := func(name, addr string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Attach(h, sw, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	client, golb := host("client", "192.0.2.10/24"), host("golb", "192.0.2.2/24")
	for _, addr := range []string{"192.0.2.11", "192.0.2.12"} {
		server := host("s"+addr[len(addr)-2:], addr+"/24")
		if err := server.SolveARPProblem(netip.MustParseAddr("192.0.2.100")); err != nil {
			t.Fatal(err)
		}
		exampletest.Serve(t, server, "0.0.0.0:80", func(string) string { return addr })
	}

	program := exampletest.Start(t, golb, "-interface", "eth0", "-vip", "192.0.2.100:80", "-report", "100ms", "192.0.2.11", "192.0.2.12")
	program.Await("event: ready")
	const each = 10
	got := exampletest.Ask(t, client, "192.0.2.100:80", 2*each)
	if len(got) != 2 || got["192.0.2.11"]+got["192.0.2.12"] != 2*each {
		t.Errorf("connections went to %v, want all to both servers", got)
	}
	program.Await(fmt.Sprintf("192.0.2.11:80 up=true active=0 connections=%d ", got["192.0.2.11"]))
	program.Stop()
}
