package afpacket

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// quietConfig keeps out what the hosts' kernels send, so that Recv returns only what a test
// sends.
func quietConfig() Config { return Config{Interface: "eth0", Filter: vips(server4 + "/32")} }

type received struct {
	n   int
	err error
}

// inRecv starts a Recv and returns when it sleeps.
func inRecv(t testing.TB, p *Port) <-chan received {
	t.Helper()
	before := p.Stats().Sleeps
	done := make(chan received, 1)
	go func() {
		n, err := p.Recv(make([]forward.Frame, 4))
		done <- received{n, err}
	}()
	eventually(t, "Recv sleeps", func() bool { return p.Stats().Sleeps > before })
	return done
}

func TestWakeEndsRecv(t *testing.T) {
	_, hb := newLink(t)
	p := openPort(t, hb, quietConfig())
	for i := range 3 {
		done := inRecv(t, p)
		p.Wake()
		if r := <-done; r.n != 0 || r.err != nil {
			t.Errorf("%d: woken with %d frames, %v", i, r.n, r.err)
		}
	}
	sleeps := p.Stats().Sleeps
	for range 10 {
		p.Wake() // before Recv, and more than once
	}
	if n, err := p.Recv(make([]forward.Frame, 4)); n != 0 || err != nil || p.Stats().Sleeps != sleeps {
		t.Errorf("woken before Recv: %d frames, %v", n, err)
	}
	inRecvThenWake := inRecv(t, p) // sleeps: several wakes are cleared as one
	p.Wake()
	<-inRecvThenWake
}

func TestCloseEndsRecv(t *testing.T) {
	_, hb := newLink(t)
	for range 20 {
		p := openPort(t, hb, quietConfig())
		done := inRecv(t, p)
		must(t, p.Close())
		if r := <-done; r.n != 0 || !errors.Is(r.err, net.ErrClosed) {
			t.Fatalf("Recv returned %d, %v", r.n, r.err)
		}
	}
}

func TestClosedPortSaysSo(t *testing.T) {
	_, hb := newLink(t)
	p := openPort(t, hb, quietConfig())
	must(t, p.Close())
	frames := asFrames(udpFrame(p.MAC(), server4, 1, 1, ""))
	_, recvErr := p.Recv(frames)
	_, sendErr := p.Send(frames)
	_, filterErr := p.SetFilter(forward.Filter{})
	for name, err := range map[string]error{
		"Recv": recvErr, "Send": sendErr, "SetFilter": filterErr, "Close": p.Close(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.Wake()
	_ = p.Stats()
}

func TestMethodsMayRunAtOnce(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, quietConfig())
	b := openPort(t, hb, quietConfig())
	list := asFrames(udpFrame(b.MAC(), server4, 1, 1, "x"))
	var all sync.WaitGroup
	run := func(f func() error) {
		all.Go(func() {
			for range 200000 {
				if err := f(); err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	frames := make([]forward.Frame, 8)
	run(func() error { _, err := b.Recv(frames); return err })
	run(func() error { _, err := a.Send(list); return err })
	run(func() error { _, err := b.Send(nil); return err })
	run(func() error { b.Wake(); _, err := b.SetFilter(vips(server4+"/32", client4+"/32")); return err })
	run(func() error { b.Stats(); a.Stats(); _, err := b.SetFilter(vips(server4 + "/32")); return err })
	time.Sleep(100 * time.Millisecond)
	eventually(t, "frames are received", func() bool { return b.Stats().Received > 0 })
	must(t, b.Close())
	must(t, a.Close())
	all.Wait()
}

// setUp sets eth0 of a host up or down.
func setUp(t testing.TB, h *lab.Host, up bool) {
	t.Helper()
	must(t, h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	}))
}

func TestPortOutlivesAnInterfaceThatGoesDown(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			ha, hb := newLink(t)
			ports := openPorts(t, hb, quietConfig(), workers)
			b := ports[0]
			done := inRecv(t, b)
			setUp(t, hb, false)
			eventually(t, "the port is down", func() bool { return b.Stats().Down > 0 })
			if n, err := b.Send(asFrames(udpFrame(b.MAC(), server4, 1, 1, "lost"))); n != 0 || err != nil || b.Stats().SendDown != 1 {
				t.Errorf("while down: sent %d, %v, %+v", n, err, b.Stats())
			}
			setUp(t, hb, true)
			stop := keepSending(t, openPort(t, ha, Config{Interface: "eth0"}), b.MAC())
			defer stop()
			b.Wake()
			<-done
			receiveEach(t, ports, 1) // whichever worker the flow is of
		})
	}
}

// keepSending sends a frame every few milliseconds: they are dropped until the peer has a
// carrier.
func keepSending(t testing.TB, a *Port, to forward.MAC) (stop func()) {
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				if _, err := a.Send(asFrames(udpFrame(to, server4, 1, 1, "back"))); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return func() { close(done); sending.Wait() }
}

func TestPortOnADeletedInterfaceFails(t *testing.T) {
	for _, downFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("down first %v", downFirst), func(t *testing.T) {
			_, hb := newLink(t)
			p := openPort(t, hb, quietConfig())
			done := inRecv(t, p)
			if downFirst {
				setUp(t, hb, false)
				eventually(t, "the port is down", func() bool { return p.Stats().Down > 0 })
			}
			must(t, hb.Do(func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkDel(link)
			}))
			if r := <-done; r.n != 0 || !errors.Is(r.err, unix.ENODEV) || !strings.Contains(r.err.Error(), "eth0") {
				t.Errorf("Recv returned %d, %v", r.n, r.err)
			}
			if _, err := p.Recv(make([]forward.Frame, 1)); !errors.Is(err, unix.ENODEV) {
				t.Errorf("second Recv: %v", err)
			}
			if n, err := p.Send(asFrames(udpFrame(p.MAC(), server4, 1, 1, ""))); n != 0 || !errors.Is(err, unix.ENODEV) {
				t.Errorf("sent %d, %v", n, err)
			}
		})
	}
}

func TestPortKnowsItsInterfaceAndLeavesItAsItWas(t *testing.T) {
	_, hb := newLink(t)
	readLink := func() (link netlink.Link) {
		must(t, hb.Do(func() (err error) {
			link, err = netlink.LinkByName("eth0")
			return err
		}))
		return link
	}
	before := readLink().Attrs()
	ports := openPorts(t, hb, Config{Interface: "eth0"}, 2)
	for _, p := range ports {
		if p.Name() != "eth0" || p.Index() != before.Index || p.MTU() != before.MTU || p.MAC() != forward.MAC(before.HardwareAddr) {
			t.Errorf("%s %d %d %v, want %+v", p.Name(), p.Index(), p.MTU(), p.MAC(), before)
		}
	}
	if open := readLink().Attrs(); open.Promisc != 0 || open.RawFlags != before.RawFlags {
		t.Errorf("promiscuity %d, flags %#x, before %#x", open.Promisc, open.RawFlags, before.RawFlags)
	}
	for _, p := range ports {
		must(t, p.Close())
	}
	if now := readLink().Attrs(); now.Promisc != 0 || now.RawFlags != before.RawFlags {
		t.Errorf("promiscuity %d, flags %#x, before %#x", now.Promisc, now.RawFlags, before.RawFlags)
	}
}

func TestSendOnlyPortReceivesNothing(t *testing.T) {
	ha, hb := newLink(t)
	b := openPort(t, hb, quietConfig())
	a := openPort(t, ha, Config{Interface: "eth0", SendOnly: true})
	sendAll(t, a, udpFrame(b.MAC(), server4, 1, 1, "end"))
	receive(t, b)
	if _, err := a.Recv(make([]forward.Frame, 1)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Recv: %v", err)
	}
	if _, err := a.SetFilter(forward.Filter{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("SetFilter: %v", err)
	}
	a.Wake()
	if st := a.Stats(); st != (forward.PortStats{Sent: 1, SentBytes: 45}) {
		t.Errorf("%+v", st)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, hb := newLink(t)
	notEthernet := "afpacket: open tun0: to send: not an Ethernet interface"
	if err := hb.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN})
	}); err != nil {
		t.Logf("no interface that is not Ethernet: %v", err) // whether /dev/net/tun is open to all differs
		notEthernet = "afpacket: open tun0: "
	}
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(list)
	}
	before := descriptors()
	for _, tt := range []struct {
		cfg  Config
		n    int
		want string
	}{
		{Config{Interface: "eth7"}, 1, "afpacket: open eth7: "},
		{Config{Interface: ""}, 1, "afpacket: open : "},
		{Config{Interface: "tun0"}, 1, notEthernet},
		{Config{Interface: "eth0"}, 0, "afpacket: open eth0: 0 ports"},
		{Config{Interface: "eth0", Filter: forward.Filter{VIPs: make([]netip.Prefix, 1)}}, 2, "afpacket: open eth0: filter: invalid prefix"},
		{Config{Interface: "eth0", MACs: make([]forward.MAC, 1)}, 1, "afpacket: open eth0: MAC 00:00:00:00:00:00: not a unicast address"},
		{Config{Interface: "eth0", MACs: []forward.MAC{{1, 0, 0x5e, 0, 0, 18}}}, 1, "afpacket: open eth0: MAC 01:00:5e:00:00:12: not a unicast address"},
		{Config{Interface: "eth0", MACs: make([]forward.MAC, MaxMACs+1)}, 1, "afpacket: open eth0: 511 MACs"},
	} {
		err := hb.Do(func() error {
			_, err := OpenGroup(tt.cfg, tt.n)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v, %d ports: %v, want %s", tt.cfg, tt.n, err, tt.want)
		}
	}
	if now := descriptors(); now > before {
		t.Errorf("%d descriptors open, %d before", now, before)
	}
}

func TestReceivingAndSendingAllocateNothing(t *testing.T) {
	ha, hb := newLink(t)
	a, b := openPort(t, ha, quietConfig()), openPort(t, hb, quietConfig())
	var list [][]byte
	for range 32 {
		list = append(list, udpFrame(b.MAC(), server4, 1, 1, "x"))
	}
	out, in := asFrames(list...), make([]forward.Frame, 64)
	var failed error
	allocs := testing.AllocsPerRun(100, func() {
		if n, err := a.Send(out); n != len(out) || err != nil {
			failed = fmt.Errorf("sent %d: %w", n, err)
		}
		for got := 0; got < len(out) && failed == nil; {
			n, err := b.Recv(in)
			got += n
			failed = err
		}
		b.Wake()
		if n, err := b.Recv(in); n != 0 || err != nil {
			failed = fmt.Errorf("woken with %d: %v", n, err)
		}
	})
	must(t, failed)
	if allocs != 0 {
		t.Errorf("%v allocations for a batch", allocs)
	}
}
