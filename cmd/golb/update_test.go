package main

import (
	"context"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/simulate"
)

// serveTestBalancer serves a balancer at a socket, and calls answered after each response. Two
// clients have a connection each; two packets to a port without a service, and one to an address
// that is no VIP, were dropped.
func serveTestBalancer(t *testing.T, answered func(*http.Request)) (*lb.Balancer, string) {
	t.Helper()
	sim, err := simulate.New(lb.Config{Services: []lb.Service{{
		Name: "web", VIP: netip.MustParseAddr("10.0.0.100"), Port: 80, Scheduler: "rr", Check: lb.Check{Type: "none"},
		Persistence: lb.Persistence{Timeout: 90 * time.Second},
		Servers:     []lb.Server{{Name: "s1", Address: netip.MustParseAddr("10.9.1.1")}, {Name: "s2", Address: netip.MustParseAddr("10.9.1.2")}},
	}}}, simulate.World{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ client, to string }{
		{"192.0.2.1:4000", "10.0.0.100:80"},
		{"192.0.2.2:4000", "10.0.0.100:80"},
		{"192.0.2.1:4001", "10.0.0.99:80"},
		{"192.0.2.1:4000", "10.0.0.100:81"},
		{"192.0.2.2:4000", "10.0.0.100:81"},
	} {
		syn := lbtest.Packet{Protocol: lb.TCP, Flags: forward.FlagSYN, Src: netip.MustParseAddrPort(p.client), Dst: netip.MustParseAddrPort(p.to)}
		if _, err := sim.Send(syn.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "golb.sock")
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	h := api.Handler(sim.Balancer())
	go func() {
		ended <- api.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			answered(r)
		}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim.Balancer(), path
}

func TestTheRunningBalancerIsListedAndOperated(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	_, socket := serveTestBalancer(t, func(*http.Request) {})
	for _, tt := range []struct {
		args, want string // a regular expression
	}{
		{"list", `web: tcp 10.0.0.100:80, rr
  server  method  weight  is  active  inactive  templates  connections  packets  bytes
  s1      dsr     1       up  1       0         1          1            1        40
  s2      dsr     1       up  1       0         1          1            1        40

connections: 4 of 16384
eth0 is up, [0-9a-f:]+, MTU 1500: 5 frames received, 4 sent; ARP and ND: 0 answered, .*
frames not forwarded: no_service 2, not_vip 1
`},
		{"list --json", `(?s)\{\n  "services": \[.*"connections": 4,\n  "table_size": 16384,\n  "table_full": false,\n  "given_up": \{\},\n  "stateless": 0,\n  "trouble": "",\n  "drops": \{\n    "no_service": 2,\n    "not_vip": 1\n  \},\n  "netlink_lost": 0\n\}\n`},
		{"connections", `protocol  client          VIP            server       method  state     expires  packets
tcp       192.0.2.1:4000  10.0.0.100:80  10.9.1.2:80  dsr     SYN_RECV  60s      1
tcp       192.0.2.2:4000  10.0.0.100:80  10.9.1.1:80  dsr     SYN_RECV  60s      1
`},
		{"connections --server 10.9.1.1 --json", `\{"service":"web","protocol":"tcp","client":"192.0.2.2:4000","vip":"10.0.0.100:80","mark":0,"server":"10.9.1.1:80","method":"dsr","state":"SYN_RECV",.*"expires_ns":60000000000,"packets":1\}
`},
		{"connections --client 192.0.2.0/30 --count", "2\n"},
		{"connections --service web --count", "2\n"},
		{"connections --service ftp --count", "0\n"},
		{"connections --client 192.0.2.2 --delete", "1\n"},
		{"connections --count", "1\n"},
		{"templates", `protocol  client        VIP            server       method  state  expires  packets
tcp       192.0.2.1/32  10.0.0.100:80  10.9.1.2:80  dsr     NONE   90s      0
tcp       192.0.2.2/32  10.0.0.100:80  10.9.1.1:80  dsr     NONE   90s      0
`},
		{"templates --vip 10.0.0.100:80 --delete", "2\n"},
		{"templates --count", "0\n"},
		{"weight s1 7", `web: tcp 10.0.0.100:80, rr\n.*\n  s1      dsr     7       up .*\n`},
		{"halt 10.9.1.1", `web: .*\n.*\n  s1      dsr     0       up,halt .*\n`},
		{"activate 10.9.1.1:80 --service web", `web: .*\n.*\n  s1      dsr     7       up .*\n`},
		{"drain s1 --wait", "0 left, 0 of them active\n"},
		{"drain s2 --within 5m", `web: .*\n.*\n  s2      dsr     0       up,drain  1 .*\n`},
		{"activate s1 s2", `web: .*\n.*\n  s1 .* up .*\n\nweb: .*\n.*\n  s2 .* up .*\n`},
		{"connections --delete --all", "1\n"},
		{"connections", "protocol  client  VIP  server  method  state  expires  packets\n"},
	} {
		code, stdout, stderr := golb(t, append(strings.Fields(tt.args), "--socket", socket)...)
		if code != exitOK || stderr != "" || !regexp.MustCompile("^"+tt.want+"$").MatchString(stdout) {
			t.Errorf("golb %s: exit code %d\n%s%swant\n%s", tt.args, code, stdout, stderr, tt.want)
		}
	}
}

func TestWaitingForADrainPrintsTheConnectionsLeft(t *testing.T) {
	pending := make(chan *lb.Balancer, 1)
	b, socket := serveTestBalancer(t, func(r *http.Request) {
		if r.Method == http.MethodGet { // the command has the number of connections
			select {
			case b := <-pending:
				b.DeleteConnections(lb.ConnectionFilter{})
			default:
			}
		}
	})
	pending <- b
	_, got, stderr := golb(t, "drain", "s2", "--wait", "--socket", socket)
	if got != "1 left, 1 of them active\n0 left, 0 of them active\n" || stderr != "" {
		t.Errorf("printed %q, %s", got, stderr)
	}
}

func TestCommandsThatFailSayWhy(t *testing.T) {
	_, socket := serveTestBalancer(t, func(*http.Request) {})
	for args, want := range map[string]struct {
		code   int
		stderr string
	}{
		"weight s1":                  {exitUsage, "WEIGHT must be given"},
		"activate s1 s3 --service x": {exitFailed, "server s3 of service x: there is none"},
		"weight s1 much":             {exitUsage, `weight "much": allowed: 0 to 65535`},
		"weight s1 65536":            {exitUsage, `weight "65536": allowed: 0 to 65535`},
		"halt s3":                    {exitFailed, "server s3: no service has it"},
		"drain s1 --service ftp":     {exitFailed, "server s1 of service ftp: there is none"},
		"drain s1 --within 0s":       {exitUsage, `within: "0s": allowed: a time above 0, as 5m`},
		"connections --delete":       {exitUsage, "--delete: needs a filter, or --all"},
		"connections --all":          {exitUsage, "--all: allowed with --delete only, and without a filter"},
		"templates --client one":     {exitUsage, `client: "one": allowed: an address or a prefix`},
		"templates --count --delete": {exitUsage, "--count, --delete, --json: at most one of them is allowed"},
		"list --socket /nowhere":     {exitFailed, "no balancer at /nowhere: golb does not run, or serves another socket"},
	} {
		line := strings.Fields(args)
		if !strings.Contains(args, "--socket") {
			line = append(line, "--socket", socket)
		}
		if code, stdout, stderr := golb(t, line...); code != want.code || stdout != "" || !strings.Contains(stderr, want.stderr) {
			t.Errorf("golb %s: exit code %d, want %d\n%s%swant %s", args, code, want.code, stdout, stderr, want.stderr)
		}
	}
}

func TestDropsAreListedFromTheMostFrequentOn(t *testing.T) {
	for _, tt := range []struct {
		drops lb.Drops
		want  string
	}{
		{nil, ""},
		{lb.Drops{}, ""},
		{lb.Drops{lb.NoServer: 3}, "frames not forwarded: no_server 3\n"},
		{lb.Drops{lb.NoServer: 3, lb.NotVIP: 12, lb.TableFull: 5}, "frames not forwarded: not_vip 12, table_full 5, no_server 3\n"},
		{lb.Drops{lb.TableFull: 1, lb.NotVIP: 1, lb.NoServer: 1}, "frames not forwarded: no_server 1, not_vip 1, table_full 1\n"},
	} {
		var b strings.Builder
		printDrops(&b, tt.drops)
		if b.String() != tt.want {
			t.Errorf("%v: printed %q, want %q", tt.drops, b.String(), tt.want)
		}
	}
}
