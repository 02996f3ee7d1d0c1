package arp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
)

// wires opens sockets at both ends of a cable.
func wires(t *testing.T) (from wire, sender state, to wire) {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	a, err := l.Host("a")
	must(t, err)
	b, err := l.Host("b")
	must(t, err)
	must(t, l.Connect(a, lab.LinkConfig{}, b, lab.LinkConfig{}))
	open := func(h *lab.Host) (w wire, s state) {
		must(t, h.Do(func() (err error) {
			w, s, err = openWire(Config{Interface: "eth0"})
			return err
		}))
		t.Cleanup(func() { must(t, w.Close()) })
		return w, s
	}
	from, sender = open(a)
	to, _ = open(b)
	return from, sender, to
}

func TestSocketsCountWhatTheyHaveNoRoomFor(t *testing.T) {
	from, sender, to := wires(t)
	const frames = 4 * receiveBuffer / 768 // the kernel doubles the buffer, and counts 768 bytes or so for a frame
	f := request(sender.mac, v4.addr(1), v4.addr(10), mac{})
	for range frames {
		must(t, from.Send(f))
	}
	deadline := time.Now().Add(time.Minute)
	for to.Dropped() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("none counted in a minute")
		}
		time.Sleep(time.Millisecond)
	}
	counted := to.Dropped()
	if again := to.Dropped(); again < counted {
		t.Errorf("%d dropped, and %d at the next reading", counted, again)
	}
}

func TestSocketsReceiveWhatIsForUsOnly(t *testing.T) {
	from, sender, to := wires(t)
	for p, w := range map[protocol]nums{ipv4ARP: v4, ipv6ND: v6} {
		got := make(chan netip.Addr, 10)
		go func() {
			buf := make([]byte, frameLen)
			for {
				n, err := to.Receive(p, buf)
				if err != nil {
					return
				}
				m, err := parse(buf[:n])
				if err != nil {
					t.Errorf("received %x: %v", buf[:n], err)
				}
				if m.asked.IsValid() { // the kernels talk too
					got <- m.asked
				}
			}
		}()
		if p == ipv6ND {
			echo := request(sender.mac, b1, b2, mac{})
			echo[14+ipv6HeaderLen] = 128
			must(t, from.Send(echo))
			udp := request(sender.mac, b1, b2, mac{})
			udp[14+6] = 17
			must(t, from.Send(udp))
		}
		for i, tag := range [][]byte{{0x81, 0, 0, 5}, {0x81, 0, 0, 0}, nil} {
			f := request(sender.mac, w.addr(1), w.addr(byte(10+i)), mac{})
			must(t, from.Send(slices.Concat(f[:12], tag, f[12:])))
		}
		for _, want := range []netip.Addr{w.addr(11), w.addr(12)} { // VLAN number 0 is none; 802.1Q §9.6
			select {
			case a := <-got:
				if a != want {
					t.Errorf("received the request for %s, want that for %s", a, want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("request for %s not received", want)
			}
		}
	}
}
