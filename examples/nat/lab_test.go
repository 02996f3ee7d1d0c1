package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// network is a client, golb's host and servers:
//
//	client .10 ── 192.0.2.0/24 ── .2 golb .1 ── 10.0.0.0/24 ── .11, .12 servers
type network struct{ client, golb *lab.Host }

func build(t *testing.T, servers ...string) network {
	t.Helper()
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
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
		greeter(t, h, addr)
	}
	return n
}

// The program as a user runs it: built, started on a host of its own, ended by a
// signal.
func TestExampleBalances(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	program := filepath.Join(t.TempDir(), "nat")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := build(t, "10.0.0.11", "10.0.0.12")
	cmd := exec.Command(program, "-interfaces", "eth0,eth1", "-vip", "192.0.2.100:80", "-report", "100ms", "10.0.0.11:8080", "10.0.0.12:8080")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.golb.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	await(t, lines, "event: ready")
	const each = 10
	got := map[string]int{}
	for range 2 * each {
		c, err := n.client.DialContext(t.Context(), "tcp", "192.0.2.100:80")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		got[string(b)]++
	}
	// Each server sees the client's own address.
	if a, b := got["10.0.0.11 greets 192.0.2.10"], got["10.0.0.12 greets 192.0.2.10"]; len(got) != 2 || a+b != 2*each {
		t.Errorf("connections went to %v, want all to both servers", got)
	}
	await(t, lines, fmt.Sprintf("10.0.0.11:8080 up=true connections=%d ", got["10.0.0.11 greets 192.0.2.10"]))

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // to the end, so that Wait does not cut it off
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// await reads lines until one holds text.
func await(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the program ended without %q: %v", text, lines.Err())
}

// greeter makes h a server that says its name and who asked, and hangs up.
func greeter(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	ln, err := h.Listen(t.Context(), "tcp", "0.0.0.0:8080")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			client, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = fmt.Fprintf(c, "%s greets %s", name, client) // fails for health checks that hang up at once
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}
