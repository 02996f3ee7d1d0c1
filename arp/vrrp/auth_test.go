package vrrp

import (
	"bytes"
	"testing"
	"time"
)

func key(id uint8) Key { return Key{id, bytes.Repeat([]byte{id}, 32)} }

// signed is an advert of priority 150 with a trailer made at a time.
func signed(c Config, k Key, at time.Time, counter uint16) Advert {
	a := advertOf(c, 150)
	a.Trailer = &Trailer{Scheme: 1, KeyID: k.ID}
	a.Trailer.setSeq(clockSeq(at) + uint64(counter))
	a.SignHMAC(k.Secret)
	return a
}

func TestHMACChecks(t *testing.T) {
	const window = 5 * time.Second
	at := func(d time.Duration) func(Config) Advert {
		return func(c Config) Advert { return signed(c, key(1), epoch.Add(d), 0) }
	}
	change := func(f func(*Advert)) func(Config) Advert {
		return func(c Config) Advert {
			a := signed(c, key(1), epoch, 0)
			f(&a)
			return a
		}
	}
	unsigned := func(c Config) Advert { return advertOf(c, 150) }
	enforce, permissive, receive := HMAC{}, HMAC{Mode: HMACPermissive}, HMAC{Mode: HMACReceiveOnly}
	for _, c := range []struct {
		name   string
		hmac   HMAC
		advert func(Config) Advert
		want   Reason
	}{
		{"signed", enforce, at(0), ReasonNone},
		{"signed, permissive", permissive, at(0), ReasonNone},
		{"signed, receive only", receive, at(0), ReasonNone},
		{"unsigned", enforce, unsigned, ReasonUnsigned},
		{"unsigned, permissive", permissive, unsigned, ReasonNone},
		{"unsigned, receive only", receive, unsigned, ReasonNone},
		{"second key", enforce, func(c Config) Advert { return signed(c, key(2), epoch, 0) }, ReasonNone},
		{"key that is not there", enforce, func(c Config) Advert { return signed(c, key(3), epoch, 0) }, ReasonKey},
		{"key of another ID", enforce, func(c Config) Advert { return signed(c, Key{1, key(2).Secret}, epoch, 0) }, ReasonHMAC},
		{"forged, permissive", permissive, func(c Config) Advert { return signed(c, Key{1, key(2).Secret}, epoch, 0) }, ReasonHMAC},
		{"old enough", enforce, at(-window), ReasonNone},
		{"too old", enforce, at(-window - time.Second), ReasonStale},
		{"new enough", enforce, at(window), ReasonNone},
		{"too new", enforce, at(window + time.Second), ReasonStale},
		{"too old before forged", enforce, func(c Config) Advert { return signed(c, key(9), epoch.Add(-time.Hour), 0) }, ReasonStale},
		{"old, monotonic", HMAC{Monotonic: true}, at(-time.Hour), ReasonNone},
		{"scheme", enforce, change(func(a *Advert) { a.Trailer.Scheme = 2 }), ReasonTrailer},
		{"reserved", enforce, change(func(a *Advert) { a.Trailer.Reserved = 1 }), ReasonTrailer},
		{"priority changed", enforce, change(func(a *Advert) { a.Priority = 151 }), ReasonHMAC},
		{"address changed", enforce, change(func(a *Advert) { a.Addresses = nil }), ReasonHMAC},
		{"source changed", enforce, change(func(a *Advert) { a.Src = a.Src.Next() }), ReasonHMAC},
		{"counter changed", enforce, change(func(a *Advert) { a.Trailer.Counter++ }), ReasonHMAC},
		{"TTL and ID changed", enforce, change(func(a *Advert) { a.ID++ }), ReasonNone},
	} {
		for _, base := range []Config{config4(1, 100), config6(1, 100)} {
			cfg := base
			h := c.hmac
			h.Keys, h.Active = []Key{key(1), key(2)}, 1
			cfg.HMAC = &h
			sender := base
			sender.Source = base.Source.Next()
			x := newNetwork().add(cfg).start(t)
			a := c.advert(sender)
			if got := x.in().Receive(x.net.now, a.Append(nil)); got != c.want {
				t.Errorf("%s, version %d: %q, want %q", c.name, cfg.Version, got, c.want)
			}
		}
	}
}

func TestHMACModesSign(t *testing.T) {
	for mode, want := range map[HMACMode]string{HMACEnforce: "hmac", HMACPermissive: "hmac", HMACReceiveOnly: "none"} {
		c := config4(1, 100)
		c.HMAC = &HMAC{Keys: []Key{key(1), key(2)}, Active: 2, Mode: mode}
		x := newNetwork().add(c).start(t)
		x.until(StateMaster)
		a := x.sent[0].Advert
		if a.Auth() != want || a.Trailer != nil && (a.Trailer.KeyID != 2 || a.Trailer.HMAC != a.hmac(key(2).Secret)) {
			t.Errorf("mode %d: %s, %+v", mode, a.Auth(), a.Trailer)
		}
	}
}

func TestHMACReplaysAreDropped(t *testing.T) {
	c := config4(1, 100)
	c.HMAC = &HMAC{Keys: []Key{key(1)}, Active: 1}
	x := newNetwork().add(c).start(t)
	take := func(n byte, at time.Duration, counter uint16) Reason {
		a := signed(config4(n, 150), key(1), epoch.Add(at), counter)
		return x.in().Receive(x.net.now, a.Append(nil))
	}
	for _, c := range []struct {
		name    string
		sender  byte
		at      time.Duration
		counter uint16
		want    Reason
	}{
		{"first", 2, 0, 0, ReasonNone},
		{"again", 2, 0, 0, ReasonReplay},
		{"counter", 2, 0, 1, ReasonNone},
		{"older", 2, -time.Second, 9, ReasonReplay},
		{"another sender", 3, -time.Second, 0, ReasonNone},
		{"later", 2, time.Second, 0, ReasonNone},
		{"third sender", 4, 0, 0, ReasonNone},
		{"fourth sender", 5, 0, 0, ReasonNone},
		{"all four are known", 2, time.Second, 0, ReasonReplay},
		{"fifth sender", 6, 0, 0, ReasonNone},
		{"the one that was heard longest ago is forgotten", 3, -time.Second, 0, ReasonNone},
	} {
		if got := take(c.sender, c.at, c.counter); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestHMACRemembersAllPeers(t *testing.T) {
	c := config4(1, 100)
	c.HMAC = &HMAC{Keys: []Key{key(1)}, Active: 1}
	for n := byte(2); n < 9; n++ {
		c.Peers = append(c.Peers, Peer{Addr: config4(n, 0).Source})
	}
	x := newNetwork().add(c).start(t)
	for _, want := range []Reason{ReasonNone, ReasonReplay} {
		for n := byte(2); n < 9; n++ {
			a := signed(config4(n, 150), key(1), epoch, 0)
			a.Dst = c.Source
			if got := x.in().Receive(x.net.now, a.Append(nil)); got != want {
				t.Errorf("peer %d: %q, want %q", n, got, want)
			}
		}
	}
}

func TestHMACForgeriesRaiseNoNumbers(t *testing.T) {
	c := config4(1, 100)
	c.HMAC = &HMAC{Keys: []Key{key(1)}, Active: 1}
	x := newNetwork().add(c).start(t)
	forged := signed(config4(2, 150), Key{1, key(9).Secret}, epoch.Add(4*time.Second), 0)
	x.in().Receive(x.net.now, forged.Append(nil))
	valid := signed(config4(2, 150), key(1), epoch, 0)
	if got := x.in().Receive(x.net.now, valid.Append(nil)); got != ReasonNone {
		t.Errorf("%q", got)
	}
}

// TestHMACNumbersGrow whatever the clock does. One that was set back by more than the
// window starts again from the clock, since receivers take nothing from the future.
func TestHMACNumbersGrow(t *testing.T) {
	window := 5 * time.Second
	for _, c := range []struct {
		name      string
		monotonic bool
		step      time.Duration
		want      int64 // more than the clock's number before the step
	}{
		{"clock stands", false, 0, 1},
		{"clock goes on", false, time.Second, 1 << 32},
		{"back within the window", false, -window, 1},
		{"back by more", false, -window - time.Second, -6 << 32},
		{"monotonic", true, -time.Hour, 1},
	} {
		var s hmacState
		h := &HMAC{Monotonic: c.monotonic, Window: window}
		first := s.next(h, epoch)
		if first != clockSeq(epoch) {
			t.Errorf("%s: begins with %x, the clock is %x", c.name, first, clockSeq(epoch))
		}
		if got := s.next(h, epoch.Add(c.step)); int64(got-first) != c.want {
			t.Errorf("%s: %x after %x", c.name, got, first)
		}
	}
	// Seconds wrap in 2106, and have their highest bit from 2038 on.
	for _, year := range []int{2050, 2106} {
		var s hmacState
		begin := time.Date(year, 2, 7, 6, 28, 10, 0, time.UTC)
		last := s.next(&HMAC{Monotonic: true}, begin)
		if last != clockSeq(begin) {
			t.Errorf("%d: begins with %x, the clock is %x", year, last, clockSeq(begin))
		}
		for i := range 20 {
			next := s.next(&HMAC{Monotonic: true}, begin.Add(time.Duration(i+1)*time.Second))
			if !seqAfter(next, last) {
				t.Errorf("%d: %x after %x", year, next, last)
			}
			last = next
		}
	}
}

func TestHMACFractionOfASecond(t *testing.T) {
	var a Trailer
	a.setSeq(clockSeq(time.Unix(7, 750_000_000)))
	if a.Seconds != 7 || a.Fraction != 0xc000 || a.Counter != 0 {
		t.Errorf("%+v", a)
	}
}

func TestHMACClockIsReported(t *testing.T) {
	c := config4(1, 100)
	c.HMAC = &HMAC{Keys: []Key{key(1)}, Active: 1}
	x := newNetwork().add(c).start(t)
	for d, want := range map[time.Duration]int{2 * time.Second: 0, 4 * time.Second: 1} {
		x.events = nil
		a := signed(config4(2, 150), key(1), epoch.Add(d), 0)
		x.in().Receive(x.net.now, a.Append(nil))
		if got := x.reported(EventClock); got != want {
			t.Errorf("off by %v: reported %d times", d, got)
		}
	}
}

func ahConfig(n byte, priority uint8) Config {
	c := config4(n, priority)
	c.Password, c.AH = "secret", true
	return c
}

func TestAHChecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Advert)
		resign bool
		want   Reason
	}{
		{"nothing", func(*Advert) {}, true, ReasonNone},
		{"wrong ICV", func(a *Advert) { a.AH.ICV[3]++ }, false, ReasonAH},
		{"priority changed", func(a *Advert) { a.Priority++ }, false, ReasonAH},
		{"ID changed", func(a *Advert) { a.ID++ }, false, ReasonAH},
		{"TOS is mutable", func(a *Advert) { a.TOS = 0 }, false, ReasonNone},
		{"SPI", func(a *Advert) { a.AH.SPI++ }, true, ReasonAH},
		{"number not higher", func(a *Advert) { a.AH.Seq = 0 }, true, ReasonNone},
		{"no AH", func(a *Advert) { a.AH, a.AuthType = nil, AuthNone }, false, ReasonAuthDiffers},
	} {
		x := newNetwork().add(ahConfig(1, 100)).start(t)
		a := advertOf(config4(2, 150), 150)
		a.AuthType, a.AH = AuthAH, &AH{SPI: spi(a.Src), Seq: 7}
		a.SignAH(x.in().cfg.password())
		c.change(&a)
		if c.resign {
			a.SignAH(x.in().cfg.password())
		}
		p := a.Append(nil)
		if got := x.in().Receive(x.net.now, p); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.want != ReasonNone {
			continue
		}
		if got := x.in().Receive(x.net.now, p); got != ReasonReplay {
			t.Errorf("%s, again: %q", c.name, got)
		}
	}
}

// TestAHMastersThatSendAtOneTimeHearEachOther: their numbers are the same.
func TestAHMastersThatSendAtOneTimeHearEachOther(t *testing.T) {
	n := newNetwork()
	a, b := n.add(ahConfig(1, 150)), n.add(ahConfig(2, 150))
	connected := false
	n.linked = func(_, _ *node) bool { return connected }
	a.start(t)
	b.start(t)
	n.run(10 * time.Second)
	connected = true
	n.run(1100 * time.Millisecond)
	if a.master() || !b.master() {
		t.Errorf("%s and %s", a.in().State(), b.in().State())
	}
	if got, want := b.sent[len(b.sent)-1].AH.Seq, a.sent[len(a.sent)-1].AH.Seq; got < want {
		t.Errorf("the winner goes on at %d, the other was at %d", got, want)
	}
}
