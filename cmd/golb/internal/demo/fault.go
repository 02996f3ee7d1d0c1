package demo

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/golb/golb/lb"
)

// fault is a way in which a server can die, and how it comes back.
type fault struct {
	name     string
	told     string // what happened to it, as progress says
	lost     string // the same, short
	mended   string
	does     func(context.Context, *site, *webServer) error
	undoes   func(context.Context, *site, *webServer) error
	needsVIP bool // shows where servers have the VIP only
}

func faults() []fault {
	return []fault{
		{
			name:   "cable",
			told:   "pulled the cable of %s: packets to it are lost, and nobody is told",
			lost:   "lost its cable",
			mended: "plugged it in again",
			does:   func(_ context.Context, _ *site, w *webServer) error { return w.cable.SetUp(false) },
			undoes: func(_ context.Context, _ *site, w *webServer) error { return w.cable.SetUp(true) },
		},
		{
			name:   "process",
			told:   "ended the web server on %s: its connections are gone, and its kernel refuses new ones",
			lost:   "lost its web server",
			mended: "started it again",
			does:   func(_ context.Context, _ *site, w *webServer) error { return w.stop() },
			undoes: func(ctx context.Context, _ *site, w *webServer) error { return w.start(ctx) },
		},
		{
			name:   "firewall",
			told:   "put up a firewall on %s that drops all that comes in",
			lost:   "was behind a firewall that drops",
			mended: "took it down again",
			does: func(ctx context.Context, _ *site, w *webServer) error {
				return w.nft(ctx, "table inet golb { chain input { type filter hook input priority 0; policy drop; "+
					"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }")
			},
			undoes: func(ctx context.Context, _ *site, w *webServer) error { return w.nft(ctx, "delete table inet golb") },
		},
		{
			name:   "vip",
			told:   "took the VIP off the loopback of %s: it drops clients' packets, but its own address answers",
			lost:   "lost its VIP",
			mended: "put it back",
			does: func(_ context.Context, s *site, w *webServer) error {
				return w.host.DelAddr("lo", netip.PrefixFrom(s.vip, s.vip.BitLen()))
			},
			undoes: func(_ context.Context, s *site, w *webServer) error {
				return w.host.AddAddr("lo", netip.PrefixFrom(s.vip, s.vip.BitLen()))
			},
			needsVIP: true,
		},
	}
}

// nft has the server's host take a script of nft's.
func (w *webServer) nft(ctx context.Context, script string) error {
	return w.host.Do(func() error {
		path, err := nftPath()
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, path, "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("demo: nft on %s: %w: %s", w.name, err, out)
		}
		return nil
	})
}

// nftPath finds nft, also where an ordinary user's PATH does not.
func nftPath() (string, error) {
	path, err := exec.LookPath("nft")
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if err == nil {
			break
		}
		if other, found := exec.LookPath(dir + "/nft"); found == nil {
			return other, nil
		}
	}
	return path, err
}

// Faults are the names that [Config].Fault takes.
func Faults() []string {
	var names []string
	for _, f := range faults() {
		names = append(names, f.name)
	}
	return names
}

// faultOf finds a fault that can be shown in a mode.
func faultOf(name string, m mode) (fault, error) {
	for _, f := range faults() {
		switch {
		case f.name != name:
			continue
		case f.needsVIP && m.method == lb.NAT:
			return f, fmt.Errorf("fault: %s: servers have no VIP in mode %s", name, m.name)
		case f.name == "firewall":
			if _, err := nftPath(); err != nil {
				return f, fmt.Errorf("fault: firewall: %w (the Debian package nftables has it)", err)
			}
		}
		return f, nil
	}
	return fault{}, fmt.Errorf("fault: %q: allowed: %s", name, strings.Join(Faults(), ", "))
}
