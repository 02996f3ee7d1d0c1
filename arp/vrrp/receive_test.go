package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestReceiveChecks changes one thing of an advert that is taken. What is not taken is
// counted, reported once, and leaves all timers alone.
func TestReceiveChecks(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.2")
	unicast := func(c *Config) { c.Peers = []Peer{{Addr: peer}} }
	toUs := func(a *Advert) { a.Dst = netip.MustParseAddr("192.0.2.1") }
	version3 := func(c *Config) { c.Version = 3 }
	pass := func(c *Config) { c.Password = "secret" }
	both := func(f ...func(*Config)) func(*Config) {
		return func(c *Config) {
			for _, g := range f {
				g(c)
			}
		}
	}
	adverts := func(f ...func(*Advert)) func(*Advert) {
		return func(a *Advert) {
			for _, g := range f {
				g(a)
			}
		}
	}
	password := func(s string) func(*Advert) {
		return func(a *Advert) { a.AuthType = AuthPassword; copy(a.AuthData[:], s) }
	}
	for _, c := range []struct {
		name   string
		config func(*Config)
		advert func(*Advert)
		want   Reason
	}{
		{"nothing", nil, nil, ReasonNone},
		{"VRID", nil, func(a *Advert) { a.VRID = 52 }, ReasonVRID},
		{"TTL", nil, func(a *Advert) { a.TTL = 254 }, ReasonTTL},
		{"TTL of unicast", unicast, adverts(toUs, func(a *Advert) { a.TTL = 60 }), ReasonNone},
		{"TTL below the peer's", func(c *Config) { c.Peers = []Peer{{peer, 255, 0}} }, adverts(toUs, func(a *Advert) { a.TTL = 254 }), ReasonPeerTTL},
		{"TTL within the peer's", func(c *Config) { c.Peers = []Peer{{peer, 64, 64}} }, adverts(toUs, func(a *Advert) { a.TTL = 64 }), ReasonNone},
		{"TTL above the peer's", func(c *Config) { c.Peers = []Peer{{peer, 0, 64}} }, adverts(toUs, func(a *Advert) { a.TTL = 65 }), ReasonPeerTTL},
		{"version", nil, func(a *Advert) { a.Version = 3 }, ReasonVersion},
		{"version before TTL is not", nil, func(a *Advert) { a.Version, a.TTL = 3, 1 }, ReasonTTL},
		{"version 2 to 3", version3, nil, ReasonVersion},
		{"authentication type unknown", nil, func(a *Advert) { a.AuthType = 3 }, ReasonAuthType},
		{"password, none wanted", nil, password("secret"), ReasonAuthDiffers},
		{"no password", pass, nil, ReasonAuthDiffers},
		{"wrong password", pass, password("secre"), ReasonPassword},
		{"right password", pass, password("secret"), ReasonNone},
		{"AH type without AH", nil, func(a *Advert) { a.AuthType = AuthAH }, ReasonAuthDiffers},
		{"AH without its type", nil, func(a *Advert) { a.AH = &AH{} }, ReasonAuthDiffers},
		{"interval, version 2", nil, func(a *Advert) { a.Interval = 2 * time.Second }, ReasonInterval},
		{"interval, version 3", version3, func(a *Advert) { a.Version, a.Interval = 3, 2*time.Second }, ReasonNone},
		{"password before interval", pass, func(a *Advert) { a.Interval = 0 }, ReasonAuthDiffers},
		{"multicast to unicast", unicast, nil, ReasonDestination},
		{"unicast to multicast", nil, toUs, ReasonDestination},
		{"other group", nil, func(a *Advert) { a.Dst = netip.MustParseAddr("224.0.0.200") }, ReasonDestination},
		{"not a peer", unicast, adverts(toUs, func(a *Advert) { a.Src = netip.MustParseAddr("192.0.2.3") }), ReasonSource},
		{"not a peer, as keepalived", both(unicast, func(c *Config) { c.Keepalived.AnySource = true }), adverts(toUs, func(a *Advert) { a.Src = netip.MustParseAddr("192.0.2.3") }), ReasonNone},
		{"fewer addresses", nil, func(a *Advert) { a.Addresses = nil }, ReasonNone},
		{"fewer addresses, as 2.2", func(c *Config) { c.Keepalived.DropOtherAddresses = true }, func(a *Advert) { a.Addresses = nil }, ReasonAddresses},
		{"other address, as 2.2", func(c *Config) { c.Keepalived.DropOtherAddresses = true }, func(a *Advert) { a.Addresses = []netip.Addr{peer} }, ReasonAddresses},
		{"plain checksum", version3, func(a *Advert) { a.Version, a.Checksum = 3, ChecksumPlain }, ReasonNone},
		{"plain checksum, as keepalived", both(version3, func(c *Config) { c.Keepalived.DropOtherChecksum = true }), func(a *Advert) { a.Version, a.Checksum = 3, ChecksumPlain }, ReasonChecksum},
		{"pseudo checksum, as keepalived with v3_checksum_as_v2", both(version3, func(c *Config) { c.Keepalived.DropOtherChecksum, c.Checksum = true, ChecksumPlain }), func(a *Advert) { a.Version = 3 }, ReasonNone},
		{"old checksum", both(version3, unicast), adverts(toUs, func(a *Advert) { a.Version, a.Checksum = 3, ChecksumPseudoMulticast }), ReasonNone},
		{"trailer", nil, func(a *Advert) { a.Trailer = &Trailer{} }, ReasonSigned},
	} {
		cfg := config4(1, 100)
		if c.config != nil {
			c.config(&cfg)
		}
		a := advertOf(config4(2, 150), 150)
		if c.advert != nil {
			c.advert(&a)
		}
		x := newNetwork().add(cfg).start(t)
		x.net.run(time.Second)
		before := x.in().Deadline()
		for range 2 {
			if got := x.in().Receive(x.net.now, a.Append(nil)); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
		if taken := x.in().Deadline() != before; taken != (c.want == ReasonNone) {
			t.Errorf("%s: deadline moved: %t", c.name, taken)
		}
		counted, told := uint64(2), 1
		if c.want == ReasonNone || c.want == ReasonVRID {
			counted, told = 0, 0
		}
		if got := x.in().Stats().Dropped[c.want]; got != counted {
			t.Errorf("%s: counted %d times, want %d", c.name, got, counted)
		}
		if got := x.reported(EventDropped); got != told {
			t.Errorf("%s: reported %d times, want %d", c.name, got, told)
		}
	}
}

// TestReceiveTakesAnything gives an instance what Decode refuses, and fragments of valid
// packets.
func TestReceiveTakesAnything(t *testing.T) {
	x := newNetwork().add(config4(1, 100)).start(t)
	valid := advertBytes(config4(2, 150), 150)
	for n := range valid {
		if got := x.in().Receive(x.net.now, valid[:n]); got == ReasonNone {
			t.Errorf("%d bytes are taken", n)
		}
	}
	for i := range valid {
		for bit := range 8 {
			p := append([]byte(nil), valid...)
			p[i] ^= 1 << bit
			a, _ := Decode(p)
			if got := x.in().Receive(x.net.now, p); got == ReasonNone && a.DF == false {
				t.Errorf("byte %d bit %d flipped is taken", i, bit)
			}
		}
	}
	six := advertBytes(config6(2, 150), 150)
	if got := x.in().Receive(x.net.now, six); got != ReasonVRID {
		t.Errorf("IPv6: %q", got)
	}
}

func TestDroppedAdvertsDoNotSilenceAMaster(t *testing.T) {
	for _, asKeepalived := range []bool{false, true} {
		c := config4(1, 150)
		c.Keepalived.DroppedDelays = asKeepalived
		m, b := pair(t, c, config4(2, 100))
		b.crash()
		bad := advertOf(config4(3, 100), 100)
		bad.AuthType = AuthPassword
		for range 20 {
			m.in().Receive(m.net.now, bad.Append(nil))
			m.net.run(300 * time.Millisecond)
		}
		if got := len(m.sent); (got == 0) != asKeepalived || !asKeepalived && got != 6 {
			t.Errorf("as keepalived %t: %d adverts in 6 s", asKeepalived, got)
		}
	}
}

func TestChecksumIsThePeers(t *testing.T) {
	plain := func(src string) Advert {
		a := advertOf(config4(2, 50), 50)
		a.Version, a.Checksum, a.Src = 3, ChecksumPlain, netip.MustParseAddr(src)
		return a
	}
	kinds := func(x *node) string {
		var l []string
		for _, s := range x.sent {
			l = append(l, s.Checksum.String())
		}
		return strings.Join(l, " ")
	}

	c := config4(1, 100)
	c.Version, c.Keepalived.AnswerAll = 3, true
	x := newNetwork().add(c).start(t)
	x.until(StateMaster)
	a := plain("192.0.2.2")
	x.in().Receive(x.net.now, a.Append(nil))
	if got := kinds(x); got != "pseudo plain" || x.reported(EventChecksum) != 1 {
		t.Errorf("multicast: %s, %v", got, x.events)
	}

	c.Checksum = ChecksumPseudo
	x = newNetwork().add(c).start(t)
	x.until(StateMaster)
	x.in().Receive(x.net.now, a.Append(nil))
	if got := kinds(x); got != "pseudo pseudo" || x.reported(EventChecksum) != 0 {
		t.Errorf("configured: %s, %v", got, x.events)
	}

	c.Checksum, c.Peers = ChecksumUnknown, []Peer{{Addr: netip.MustParseAddr("192.0.2.2")}, {Addr: netip.MustParseAddr("192.0.2.3")}}
	x = newNetwork().add(c).start(t)
	x.until(StateMaster)
	for _, k := range []Checksum{ChecksumPlain, ChecksumPseudoMulticast} {
		a.Dst, a.Checksum = c.Source, k
		x.sent = nil
		x.in().Receive(x.net.now, a.Append(nil))
		if got, want := kinds(x), k.String()+" pseudo"; got != want {
			t.Errorf("unicast: to the two peers %s, want %s", got, want)
		}
	}
}

func TestMismatchesAreReportedOncePerMaster(t *testing.T) {
	x := newNetwork().add(config4(1, 100)).start(t)
	a := advertOf(config4(2, 150), 150)
	a.Addresses = append(a.Addresses, netip.MustParseAddr("192.0.2.101"))
	for range 3 {
		x.in().Receive(x.net.now, a.Append(nil))
	}
	if got := x.reported(EventAddresses); got != 1 {
		t.Errorf("reported %d times", got)
	}
	a.Src = netip.MustParseAddr("192.0.2.3")
	x.in().Receive(x.net.now, a.Append(nil))
	x.in().Receive(x.net.now, a.Append(nil))
	if got := x.reported(EventAddresses); got != 2 {
		t.Errorf("reported %d times with another master", got)
	}
	if got := x.events[0].Text; got != "192.0.2.2 has addresses [192.0.2.100 192.0.2.101], we have [192.0.2.100]" {
		t.Error(got)
	}
}

func TestDropsAreReportedOncePerState(t *testing.T) {
	x := newNetwork().add(config4(1, 100)).start(t)
	bad := advertOf(config4(2, 150), 150)
	bad.TTL = 1
	for _, s := range []State{StateBackup, StateMaster} {
		x.until(s)
		for range 3 {
			x.in().Receive(x.net.now, bad.Append(nil))
		}
	}
	if got := x.reported(EventDropped); got != 2 {
		t.Errorf("reported %d times", got)
	}
}

// TestAddressesInAnyOrderAreTheSame: keepalived and we compare sets.
func TestAddressesInAnyOrderAreTheSame(t *testing.T) {
	c := config6(1, 100)
	x := newNetwork().add(c).start(t)
	a := advertOf(config6(2, 150), 150)
	a.Addresses = []netip.Addr{c.Addresses[1], c.Addresses[0]}
	if got := x.in().Receive(x.net.now, a.Append(nil)); got != ReasonNone || len(x.events) != 0 {
		t.Errorf("%q, %v", got, x.events)
	}
}

func TestReasonsHaveTexts(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasons {
		if s := r.String(); seen[s] || s == "" && r != ReasonNone {
			t.Errorf("reason %d: %q", r, s)
		}
		seen[r.String()] = true
	}
	if reasons.String() != "unknown reason" {
		t.Error(reasons.String())
	}
}

// FuzzReceive: nothing that arrives makes an instance panic, or a master of a backup.
func FuzzReceive(f *testing.F) {
	for _, c := range []Config{config4(2, 150), config6(2, 150)} {
		f.Add(advertBytes(c, 150))
	}
	ah := advertOf(config4(2, 150), 150)
	ah.AuthType, ah.AH = AuthAH, &AH{SPI: spi(ah.Src), Seq: 1}
	f.Add(ah.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		c4, c6 := config4(1, 100), config6(1, 100)
		c4.Password, c4.AH = "secret", true
		c6.HMAC = &HMAC{Keys: []Key{{1, make([]byte, 32)}}, Active: 1, Mode: HMACPermissive}
		for _, c := range []Config{c4, c6, config4(1, 100)} {
			x := newNetwork().add(c).start(t)
			x.in().Receive(x.net.now, data)
			if x.in().State() != StateBackup {
				t.Fatalf("%s after %x", x.in().State(), data)
			}
			x.net.run(5 * time.Second)
			x.in().Receive(x.net.now, data)
		}
	})
}
