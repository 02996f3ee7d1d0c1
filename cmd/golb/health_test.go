package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

const checkedServices = `interfaces: [eth0]
workers: 1
max_connections: 4096
services:
  - name: web
    vip: 192.0.2.100
    port: 80
    check: {interval: 10ms, fall: 1}
    servers:
      - {name: good, address: 192.0.2.11}
      - {name: bad, address: 192.0.2.12}
  - name: shut
    vip: 192.0.2.101
    port: 80
    check: {type: off}
    servers:
      - {name: s, address: 192.0.2.11}
`

func TestHealthShowsTheRunningBalancer(t *testing.T) {
	defer goleak.VerifyNone(t)
	read, written := io.Pipe()
	log := &entries{t, bufio.NewScanner(read)}
	socket := filepath.Join(t.TempDir(), "golb.sock")
	s := server{file: write(t, checkedServices), log: newLogger(written, nil, false), env: inMemoryEnv(),
		check: func(*lb.Config) error { return nil }, socket: socket, wanted: true}
	s.env.Logger = s.log
	s.env.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "192.0.2.12:") {
			return nil, errors.New("cable pulled")
		}
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far); far.Close() }()
		return near, nil
	}
	if code, _, stderr := golb(t, "health", "--socket", socket); code != exitFailed || stderr != "golb: no balancer at "+socket+": golb does not run, or serves another socket\n" {
		t.Errorf("before: exit code %d, %s", code, stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, nil) }()
	log.next("forwarding")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, read)
	}()

	// Until each has been checked more often than golb remembers.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		code, stdout, stderr := golb(t, "health", "--json", "--socket", socket)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		var h api.Health
		if err := json.Unmarshal([]byte(stdout), &h); err != nil {
			t.Fatal(err)
		}
		web := h.Services[0].Servers
		if len(web[0].Check.Recent) == 10 && len(web[1].Check.Recent) == 10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not checked often enough within a minute: %s", stdout)
		}
	}
	code, stdout, stderr := golb(t, "health", "--socket", socket)
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	want := []string{
		`web: 1 of 2 servers up`,
		`  server  is    for\s+weight  checked\s+took\s+last results  next\s+check`,
		`  good    up    [\d.]+s\s+1\s+[\d.]+s ago\s+[\d.]+ ms\s+\+{10}\s+(running|[\d.]+s)\s+tcp 192.0.2.11:80`,
		`  bad     down  [\d.]+s\s+1\s+[\d.]+s ago\s+[\d.]+ ms\s+-{10}\s+(running|[\d.]+s)\s+tcp 192.0.2.12:80`,
		`    connect to 192.0.2.12:80: cable pulled`,
		``,
		`shut: 0 of 1 server up; servers of weight 0 of 1 are up, quorum 1`,
		`  server  is    for\s+weight  checked  took  last results  next  check`,
		`  s       down  [\d.]+s\s+1\s+never\s+-\s+none\s+-\s+off`,
		`    off by configuration`,
		``,
	}
	got := strings.Split(stdout, "\n")
	if len(got) != len(want) {
		t.Fatalf("got\n%s", stdout)
	}
	for i, w := range want {
		if !regexp.MustCompile("^" + w + "$").MatchString(got[i]) {
			t.Errorf("line %d: got  %q\nwant %q", i+1, got[i], w)
		}
	}

	// A second one does not take the socket away, nor run without it.
	s.file, s.wanted = write(t, checkedServices), false
	if err := s.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("a second balancer: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	written.Close()
	<-drained
}

func TestBriefDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 1999 * time.Millisecond: "1.9s", 61 * time.Second: "1m1s", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d",
	} {
		if got := brief(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestHealthShowsFailedConnections(t *testing.T) {
	h := api.Health{Services: []lb.ServiceHealth{{Name: "web", Up: true, Servers: []lb.ServerHealth{
		{Name: "s1", Up: true}, {Name: "s2", Up: true, Established: 5,
			Failed: lb.FailedConnections{Unanswered: 3, Refused: 2, Unreachable: 1}, Diagnosis: "the VIP is missing"},
	}}}}
	var out strings.Builder
	if err := printHealth(&out, h, time.Now()); err != nil {
		t.Fatal(err)
	}
	const want = "    failed connections so far: 6 of 11: 3 not answered, 2 refused, 1 unreachable\n    the VIP is missing\n"
	if !strings.HasSuffix(out.String(), want) || strings.Count(out.String(), "failed") != 1 {
		t.Errorf("got\n%s", out.String())
	}
}

func TestHealthShowsEveryCheck(t *testing.T) {
	now := time.Now()
	check := func(state, reason string) lb.CheckHealth {
		return lb.CheckHealth{Description: "http 192.0.2.11:80", State: state, Reason: reason, Checked: now, Latency: 2 * time.Millisecond, Recent: []lb.CheckResult{{Up: reason == ""}}}
	}
	h := api.Health{Services: []lb.ServiceHealth{{Name: "web", Servers: []lb.ServerHealth{
		{Name: "s1", Reason: "http: got 500", Check: check("up", ""), MoreChecks: []lb.CheckHealth{check("down", "got 500"), check("down", "got 404")}},
		{Name: "s2", Up: true, Check: lb.CheckHealth{Remark: "half a handshake"}},
	}}}}
	var out strings.Builder
	if err := printHealth(&out, h, now); err != nil {
		t.Fatal(err)
	}
	const want = "\n    http: got 500\n" +
		"    and http 192.0.2.11:80: down, 2.0 ms (0.0s ago), last results -\n" + // whose reason stands above
		"    and http 192.0.2.11:80: down, 2.0 ms (0.0s ago), last results -: got 404\n"
	if !strings.Contains(out.String(), want) || !strings.HasSuffix(out.String(), "\n    half a handshake\n") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestConflictsAreShown(t *testing.T) {
	conflicts := []lb.VIPConflict{{
		VIP: netip.MustParseAddr("192.0.2.100"), Group: "default", Interface: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Server: "s1",
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Remedy: "keep it on lo",
	}}
	const want = "  VIP 192.0.2.100 on eth0: server s1 (02:00:00:00:00:01) answers for it too, since 2026-01-02 03:04:05: keep it on lo\n"
	var list, health strings.Builder
	if err := printServices(&list, []lb.ServiceStats{{Name: "web", Up: true, Conflicts: conflicts}}); err != nil {
		t.Fatal(err)
	}
	if err := printHealth(&health, api.Health{Services: []lb.ServiceHealth{{Name: "web", Up: true, Conflicts: conflicts}}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{list.String(), health.String()} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant a line\n%s", got, want)
		}
	}
}
