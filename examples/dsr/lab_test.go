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

// The program as a user runs it: built, started on a host of its own, ended by a
// signal.
func TestExampleBalances(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	program := filepath.Join(t.TempDir(), "dsr")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
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
		greeter(t, host("s"+addr[len(addr)-2:], addr+"/24"), addr)
	}

	cmd := exec.Command(program, "-interface", "eth0", "-vip", "192.0.2.100:80", "-report", "100ms", "192.0.2.11", "192.0.2.12")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := golb.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	await(t, lines, "event: ready")
	const each = 10
	got := map[string]int{}
	for range 2 * each {
		c, err := client.DialContext(t.Context(), "tcp", "192.0.2.100:80")
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
	if len(got) != 2 || got["192.0.2.11"]+got["192.0.2.12"] != 2*each {
		t.Errorf("connections went to %v, want all to both servers", got)
	}
	await(t, lines, fmt.Sprintf("192.0.2.11:80 up=true active=0 connections=%d ", got["192.0.2.11"]))

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

// greeter makes h a server for the VIP that says its name and hangs up.
func greeter(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	if err := h.SolveARPProblem(netip.MustParseAddr("192.0.2.100")); err != nil {
		t.Fatal(err)
	}
	ln, err := h.Listen(t.Context(), "tcp", "0.0.0.0:80")
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
			serve(c, name)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}

func serve(c net.Conn, name string) {
	defer c.Close()
	_, _ = io.WriteString(c, name) // fails for health checks that hang up at once
}
