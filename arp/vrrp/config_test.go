package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestZeroConfigHasDefaults(t *testing.T) {
	for _, c := range []struct {
		source    string
		ttl       uint8
		multicast string
	}{{"192.0.2.1", 255, "224.0.0.18"}, {"fe80::1", 64, "ff02::12"}} {
		in, err := New(Config{VRID: 1, Source: netip.MustParseAddr(c.source)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := in.Config()
		if got.Version != 3 || got.Priority != 100 || got.Interval != time.Second || got.DownAdverts != 3 || got.MTU != 1500 {
			t.Errorf("%+v", got)
		}
		if got.TTL != c.ttl || got.Multicast.String() != c.multicast {
			t.Errorf("from %s: TTL %d, multicast %s", c.source, got.TTL, got.Multicast)
		}
		if a := got.Announce; a.Repeat != 5 || a.Delay != 5*time.Second || a.RefreshRepeat != 1 || a.LowerRepeat != 5 || a.LowerDelay != a.Delay {
			t.Errorf("%+v", a)
		}
	}
}

func TestHMACWindowFollowsTheInterval(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		time.Second: 5 * time.Second, 3 * time.Second: 9 * time.Second, 255 * time.Second: 300 * time.Second,
	} {
		c := config4(1, 100)
		c.Interval, c.HMAC = interval, &HMAC{Keys: []Key{{1, make([]byte, 32)}}, Active: 1}
		if got := c.withDefaults().HMAC.Window; got != want {
			t.Errorf("interval %v: window %v, want %v", interval, got, want)
		}
		if c.HMAC.Window != 0 {
			t.Errorf("the caller's HMAC was changed")
		}
	}
}

// TestValidateNamesFieldAndValue changes one field of a good configuration.
func TestValidateNamesFieldAndValue(t *testing.T) {
	addr := netip.MustParseAddr
	many := func(n int) (l []netip.Addr) {
		a := addr("10.0.0.0")
		for range n {
			a = a.Next()
			l = append(l, a)
		}
		return l
	}
	hmac := func(change func(*HMAC)) func(*Config) {
		return func(c *Config) {
			c.HMAC = &HMAC{Keys: []Key{{1, make([]byte, 32)}}, Active: 1}
			change(c.HMAC)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // in the error; "" is that there is none
	}{
		{"nothing", func(c *Config) {}, ""},
		{"no name", func(c *Config) { c.Name, c.Priority, c.DownAdverts = "", 3, 101 }, "vrrp: VRID 51: DownAdverts 101: want 1 to 100"},
		{"VRID", func(c *Config) { c.VRID = 0 }, "vrrp: v: VRID 0: want 1 to 255"},
		{"version", func(c *Config) { c.Version = 4 }, "Version 4: want 2 or 3"},
		{"version 2 and IPv6", func(c *Config) { c.Source, c.Addresses = addr("fe80::1"), nil }, "Version 2: IPv6 wants 3"},
		{"no source", func(c *Config) { c.Source = netip.Addr{} }, "Source invalid IP: want"},
		{"zone", func(c *Config) { c.Source = addr("fe80::1%eth0") }, "Source fe80::1%eth0: want"},
		{"mapped", func(c *Config) { c.Source = addr("::ffff:192.0.2.1") }, "Source ::ffff:192.0.2.1: want"},
		{"family", func(c *Config) { c.Addresses = []netip.Addr{addr("2001:db8::1")} }, "Addresses[0] 2001:db8::1: want IPv4 as Source 192.0.2.1"},
		{"family, excluded", func(c *Config) { c.Excluded = []netip.Addr{addr("2001:db8::1")} }, ""},
		{"multicast address", func(c *Config) { c.Excluded = []netip.Addr{addr("224.0.0.1")} }, "Excluded[0] 224.0.0.1: want"},
		{"twice", func(c *Config) { c.Excluded = c.Addresses }, "Excluded[0] 192.0.2.100: is there twice"},
		{"no addresses", func(c *Config) { c.Addresses = nil }, ""},
		{"as many as fit", func(c *Config) { c.Version, c.MTU, c.Addresses = 3, 576, many(137) }, ""},
		{"more than fit", func(c *Config) { c.Version, c.MTU, c.Addresses = 3, 576, many(138) }, "Addresses 138: want at most 137"},
		{"more than can be counted", func(c *Config) { c.MTU, c.Addresses = 9000, many(256) }, "Addresses 256: want at most 255"},
		{"room for the trailer", func(c *Config) {
			c.Version, c.MTU, c.Addresses = 3, 576, many(137)
			hmac(func(*HMAC) {})(c)
		}, "Addresses 137: want at most 130"},
		{"MTU", func(c *Config) { c.MTU = 100 }, "MTU 100: want at least 576"},
		{"fraction, version 2", func(c *Config) { c.Interval = 1500 * time.Millisecond }, "Interval 1.5s: VRRP 2 wants 1s to 255s in whole seconds"},
		{"longest, version 2", func(c *Config) { c.Interval = 255 * time.Second }, ""},
		{"too long, version 3", func(c *Config) { c.Version, c.Interval = 3, 41*time.Second }, "Interval 41s: VRRP 3 wants 10ms to 40.95s"},
		{"steps, version 3", func(c *Config) { c.Version, c.Interval = 3, 15*time.Millisecond }, "Interval 15ms: VRRP 3 wants"},
		{"preempt delay", func(c *Config) { c.PreemptDelay = 1001 * time.Second }, "PreemptDelay 16m41s: want 0s to 16m40s"},
		{"preempt delay, no preempt", func(c *Config) { c.PreemptDelay, c.NoPreempt = 1, true }, "PreemptDelay 1ns: has no meaning with NoPreempt"},
		{"preempt delay, start master", func(c *Config) { c.PreemptDelay, c.StartMaster = 1, true }, "PreemptDelay 1ns: has no meaning with StartMaster"},
		{"no preempt, owner", func(c *Config) { c.NoPreempt, c.Priority = true, 255 }, "NoPreempt true: is not for the address owner"},
		{"multicast group", func(c *Config) { c.Multicast = addr("192.0.2.9") }, "Multicast 192.0.2.9: want a multicast group"},
		{"multicast family", func(c *Config) { c.Multicast = addr("ff02::12") }, "Multicast ff02::12: want a multicast group"},
		{"peer family", func(c *Config) { c.Peers = []Peer{{Addr: addr("fe80::2")}} }, "Peers[0] fe80::2: want the family of Source 192.0.2.1"},
		{"peer is self", func(c *Config) { c.Peers = []Peer{{Addr: c.Source}} }, "Peers[0] 192.0.2.1: is Source itself"},
		{"peer twice", func(c *Config) { c.Peers = []Peer{{Addr: addr("192.0.2.2")}, {Addr: addr("192.0.2.2")}} }, "Peers[1] 192.0.2.2: is there twice"},
		{"peer multicast", func(c *Config) { c.Peers = []Peer{{Addr: addr("224.0.0.18")}} }, "Peers[0] 224.0.0.18: want a unicast address"},
		{"peer TTL", func(c *Config) { c.Peers = []Peer{{addr("192.0.2.2"), 255, 64}} }, "Peers[0].MinTTL 255: is more than MaxTTL 64"},
		{"old checksum, multicast", func(c *Config) { c.Checksum = ChecksumPseudoMulticast }, "Checksum pseudo-multicast: is for unicast"},
		{"checksum", func(c *Config) { c.Checksum = 9 }, "Checksum 9: want one of the constants"},
		{"long password", func(c *Config) { c.Password = "123456789" }, "Password (hidden): has 9 bytes"},
		{"password, version 3", func(c *Config) { c.Version, c.Password = 3, "secret" }, "Password (hidden): VRRP 3 has none"},
		{"password and HMAC", func(c *Config) { hmac(func(*HMAC) {})(c); c.Password = "secret" }, "Password (hidden): is not for use with HMAC"},
		{"AH without password", func(c *Config) { c.AH = true }, "AH true: wants a Password"},
		{"HMAC", hmac(func(*HMAC) {}), ""},
		{"HMAC key", hmac(func(h *HMAC) { h.Keys[0].Secret = make([]byte, 31) }), "HMAC.Keys[0].Secret (hidden): has 31 bytes, want 32 to 64"},
		{"HMAC key ID", hmac(func(h *HMAC) { h.Keys = append(h.Keys, h.Keys[0]) }), "HMAC.Keys[1].ID 1: want 1 to 255, each once"},
		{"HMAC active", hmac(func(h *HMAC) { h.Active = 2 }), "HMAC.Active 2: is not the ID of a key"},
		{"HMAC active, receive only", hmac(func(h *HMAC) { h.Active, h.Mode = 2, HMACReceiveOnly }), ""},
		{"HMAC window", hmac(func(h *HMAC) { h.Window = 301 * time.Second }), "HMAC.Window 5m1s: want 1s to 300s"},
		{"HMAC mode", hmac(func(h *HMAC) { h.Mode = 7 }), "HMAC.Mode 7: want one of the constants"},
		{"repeat", func(c *Config) { c.Announce.Repeat = -1 }, "Announce.Repeat -1: want 1 to 60"},
		{"gap", func(c *Config) { c.Announce.ARPInterval = -1 }, "Announce.ARPInterval -1ns: want 0s to 1h0m0s"},
	} {
		cfg := config4(1, 100)
		c.change(&cfg)
		err := cfg.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "12345"):
			t.Errorf("%s: a secret is in %v", c.name, err)
		}
	}
}

func TestValidateTellsAllThatIsWrong(t *testing.T) {
	err := Config{Version: 9, DownAdverts: -1}.Validate()
	for _, want := range []string{"VRID 0", "Source", "Version 9", "DownAdverts -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}
