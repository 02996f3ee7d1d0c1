package afpacket

import (
	"errors"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A port that spins for ever does not sleep, but answers to Wake and Close, and still
// notices that its interface is down, or gone.
func TestPortThatSpinsForEver(t *testing.T) {
	ha, hb := newLink(t)
	cfg := quiet(t)
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
	for p.Stats().Sleeps == 0 {
		time.Sleep(time.Millisecond)
	}
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
