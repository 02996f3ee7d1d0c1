package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
	"github.com/golb/golb/lb/lbtest"
)

const file = `interfaces: [eth0]
services:
  - name: web
    vip: 192.0.2.100
    port: 80
    scheduler: lowest
    check: {type: none}
    servers:
      - address: 192.0.2.12
      - address: 192.0.2.11
      - address: 192.0.2.13
`

func TestConnectionsGoToTheLowestAddress(t *testing.T) {
	wire, mac := lbtest.NewWire(), forward.MAC{2, 0, 0, 0, 0, 1}
	env := wire.Env(lbtest.NewClock(time.Unix(0, 0)), mac)
	env.Schedulers = schedulers()
	cfg, err := conf.ParseIn(env, "golb.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	balancer, stop, err := lbtest.Start(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	weigh := func(server string, weight int) {
		if err := balancer.SetWeight(lb.ServerRef{Service: "web", Server: server + ":80"}, weight); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		change func()
		want   string // where a new connection then goes; "": nowhere
	}{
		{func() {}, "192.0.2.11"},
		{func() { weigh("192.0.2.11", 0) }, "192.0.2.12"},
		{func() { weigh("192.0.2.12", 0) }, "192.0.2.13"},
		{func() { weigh("192.0.2.13", 0) }, ""},
		{func() { weigh("192.0.2.12", 1) }, "192.0.2.12"},
	} {
		step.change()
		client := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(4000+i))
		vip := netip.MustParseAddrPort("192.0.2.100:80")
		wire.Inject(lbtest.Packet{SrcMAC: lbtest.MACOf(client.Addr()), DstMAC: mac, Src: client, Dst: vip, Flags: forward.FlagSYN}.Frame())
		got := ""
		if c, ok := balancer.Connection(lb.TCP, client, vip); ok {
			got = c.Server.Addr().String()
		}
		if got != step.want {
			t.Errorf("step %d: connection to %q, want %q", i, got, step.want)
		}
	}
}

func TestRunRefusesBadArguments(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "golb.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(file, "lowest", "highest", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "usage"},
		{[]string{"nowhere.yaml"}, "nowhere.yaml"},
		{[]string{bad}, "golb.yaml:6:16: services[0].scheduler"},
	} {
		if err := run(t.Context(), tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want one about %s", tt.args, err, tt.want)
		}
	}
}
