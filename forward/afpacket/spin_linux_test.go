package afpacket

import (
	"errors"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A port that spins forever does not sleep, but Wake and Close end its Recv, and it notices
// that its interface is down or gone.
func TestPortThatSpinsForever(t *testing.T) {
	ha, hb := newLink(t)
	cfg := quietConfig()
	cfg.Spin = SpinForever
	p := openPort(t, hb, cfg)
	results := make(chan received)
	recv := func() {
		go func() {
			n, err := p.Recv(make([]forward.Frame, 4))
			results <- received{n, err}
		}()
	}
	recv()
	time.Sleep(50 * time.Millisecond)
	p.Wake()
	if r := <-results; r.n != 0 || r.err != nil {
		t.Errorf("woken with %d frames, %v", r.n, r.err)
	}
	recv()
	sendAll(t, openPort(t, ha, Config{Interface: "eth0"}), udpFrame(p.MAC(), server4, 1, 1, "one"))
	if r := <-results; r.n != 1 || r.err != nil {
		t.Errorf("%d frames, %v; want 1", r.n, r.err)
	}
	if n := p.Stats().Sleeps; n != 0 {
		t.Errorf("slept %d times", n)
	}

	recv()
	setUp(t, hb, false)
	eventually(t, "Recv sleeps", func() bool { return p.Stats().Sleeps > 0 })
	must(t, hb.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}))
	if r := <-results; !errors.Is(r.err, unix.ENODEV) {
		t.Errorf("on an interface that is gone: %v", r.err)
	}
}

// After spins in which no frame came, and after those in which another program took the
// processor, Recv sleeps without a spin for a while. After a spin with frames it does not.
func TestSpinsAreSkippedAfterMisses(t *testing.T) {
	const spin = 20 * time.Microsecond
	for _, x := range []struct {
		name    string
		spins   []time.Duration // how long until frames came; 0: none came
		skipped int
	}{
		{"frames soon", []time.Duration{spin / 2}, 0},
		{"frames from a program that had the processor for a while", []time.Duration{5 * spin}, 0},
		{"frames after another program kept the processor", []time.Duration{3 * time.Millisecond}, 63},
		{"none", []time.Duration{0}, 1},
		{"none twice", []time.Duration{0, 0}, 3},
		{"none, then frames soon", []time.Duration{0, spin / 2}, 0},
		{"never any", make([]time.Duration, 100), 63},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := receiver{spin: spin, active: true}
			for _, d := range x.spins {
				r.skipSpins = 0
				if d != 0 {
					r.spinHit(d)
					continue
				}
				long := time.Now().Add(-time.Second)
				if r.keepSpinning(&long) {
					t.Fatal("spins for longer than r.spin")
				}
			}
			skipped := 0
			for idle := (time.Time{}); !r.keepSpinning(&idle); idle = (time.Time{}) {
				skipped++
			}
			if skipped != x.skipped {
				t.Errorf("%d pauses without a spin, want %d", skipped, x.skipped)
			}
		})
	}
}
