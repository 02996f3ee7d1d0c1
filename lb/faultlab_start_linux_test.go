package lb_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// TestFaultLabStart starts golb while interfaces are missing, down or without carrier: it
// takes each in when it comes.
func TestFaultLabStart(t *testing.T) {
	plugged := func(x *faultLab) { x.plug(0); x.plug(1) }
	for name, tt := range map[string]struct {
		before, come func(*faultLab)
		states       [2]lb.InterfaceState
	}{
		"one is missing": {
			func(x *faultLab) { x.plug(0) }, func(x *faultLab) { x.plug(1) },
			[2]lb.InterfaceState{lb.InterfaceUp, lb.InterfaceMissing},
		},
		"all are missing": {func(*faultLab) {}, plugged, [2]lb.InterfaceState{lb.InterfaceMissing, lb.InterfaceMissing}},
		"one has no carrier": {
			func(x *faultLab) { plugged(x); must(x.t, x.links[1].SetUp(false)) },
			func(x *faultLab) { must(x.t, x.links[1].SetUp(true)) },
			[2]lb.InterfaceState{lb.InterfaceUp, lb.InterfaceNoCarrier},
		},
		"one is down": {
			func(x *faultLab) { plugged(x); x.onLink("eth1", netlink.LinkSetDown) },
			func(x *faultLab) { x.onLink("eth1", netlink.LinkSetUp) },
			[2]lb.InterfaceState{lb.InterfaceUp, lb.InterfaceDown},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newFaultLab(t)
			tt.before(x)
			x.run(x.config())
			for i, want := range tt.states {
				x.awaitState(i, want)
			}
			front, back, across := x.flows(0)
			if tt.states[0] == lb.InterfaceUp {
				front.comesBack(t)
			}
			back.breaks(t)
			tt.come(x)
			front.comesBack(t)
			back.comesBack(t)
			across.comesBack(t)
			x.awaitState(1, lb.InterfaceUp)
		})
	}
}

// TestFaultLabProbesWhereAnInterfaceComes: a VIP that another host has there is not claimed
// on that interface, for as long as that host has it.
func TestFaultLabProbesWhereAnInterfaceComes(t *testing.T) {
	x := newFaultLab(t)
	x.plug(0)
	x.run(x.config())
	other := x.host("other", 1, 99)
	vip := backNet.at(faultVIP)[0]
	must(t, other.AddAddr("eth0", netip.PrefixFrom(vip, 32)))
	at := x.mark()
	x.plug(1)
	x.awaitEvent("", lb.EventVIPConflict, "", at)
	_, back, across := x.flows(0)
	across.comesBack(t)
	back.breaks(t)
	want := len(x.config().Services) - 1
	for deadline := time.Now().Add(giveUpAfter); x.b.Stats().Interfaces[1].Link.VIPs != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("eth1 answers for %d VIPs, want %d", x.b.Stats().Interfaces[1].Link.VIPs, want)
		}
	}
	must(t, other.DelAddr("eth0", netip.PrefixFrom(vip, 32)))
	back.comesBack(t)
}

// TestFaultLabSizes: frames are cut, and too long ones are answered, by the MTU of now, in
// the middle of an upload too.
func TestFaultLabSizes(t *testing.T) {
	x := newFaultLab(t)
	x.plug(0)
	x.plug(1)
	serveEcho(t, x.servers[1], netip.AddrPortFrom(backNet.at(faultServer)[0], natEchoPort))
	cfg := x.config()
	cfg.Services = append(cfg.Services, lb.Service{
		VIP: frontNet.at(faultNATVIP)[0], Port: echoPort, Protocol: lb.UDP, Method: lb.NAT, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{{Address: backNet.at(faultServer)[0], Port: natEchoPort}},
	})
	x.run(cfg)
	mtu := func(n int) {
		at := x.mark()
		x.onLink("eth1", func(l netlink.Link) error { return netlink.LinkSetMTU(l, n) })
		must(t, x.servers[1].Do(func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetMTU(l, n)
		}))
		x.awaitEvent("eth1", lb.EventInterface, fmt.Sprintf("MTU %d in place", n), at)
	}
	dial := func() net.Conn {
		c, err := x.clients[0].DialContext(t.Context(), "udp", netip.AddrPortFrom(frontNet.at(faultNATVIP)[0], echoPort).String())
		must(t, err)
		return c
	}
	c := dial()
	defer c.Close()
	echo(t, c, 3000)
	for _, f := range families {
		url := urlOf(frontNet.at(faultNATVIP)[f], 0)
		for _, n := range []int{1300, 1500} {
			const size = 4 << 20
			body := &pausingReader{Reader: noise(size), after: size / 2, pause: func() { mtu(n) }}
			resp, err := newHTTPClient(x.clients[0]).Post(url, "", body)
			must(t, err)
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			must(t, err)
			if want, _ := sumOf(noise(size)); resp.StatusCode != http.StatusOK || string(got) != fmt.Sprintf("%x", want) {
				t.Errorf("%v, MTU %d: %s %q", f, n, resp.Status, got)
			}
			long := dial()
			untilAnswered(t, "UDP of 1400 bytes", long, func() bool { // golb's "too big" may come first
				_, err := long.Write(make([]byte, 1400))
				if err == nil {
					_, err = long.Read(make([]byte, 1))
				}
				return err == nil
			})
			long.Close()
			echo(t, c, 3000)
		}
	}
	if st := x.b.Stats().Interfaces[1].Port; st.SendTooLong > 100 {
		t.Errorf("%d frames were too long: the MTU of before was taken", st.SendTooLong)
	}
}

// pausingReader calls pause once, after so many bytes.
type pausingReader struct {
	io.Reader
	after int
	pause func()
}

func (r *pausingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if r.after -= n; r.after <= 0 && r.pause != nil {
		r.pause()
		r.pause = nil
	}
	return n, err
}

// TestFaultLabMACs: frames leave with the MAC of now, and go to the server's of now, whatever
// the interface is called.
func TestFaultLabMACs(t *testing.T) {
	x := newFaultLab(t)
	x.plug(0)
	x.plug(1)
	x.run(x.config())
	front, back, across := x.flows(0)
	for _, c := range []*faultFlow{front, back, across} {
		c.comesBack(t)
	}
	x.onLink("eth1", func(l netlink.Link) error { return netlink.LinkSetName(l, "lan0") })
	mac := net.HardwareAddr{2, 0, 0, 0, 9, 1}
	x.onLink("lan0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
	must(t, x.servers[1].Sysctl("net.ipv4.conf.eth0.arp_notify", "1"))
	must(t, x.servers[1].Do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 9, 2})
	}))
	x.awaitEvent("eth1", lb.EventInterface, "MAC "+mac.String(), 0)
	back.comesBack(t)
	across.comesBack(t)
	for _, c := range []*packet.Conn{listen(t, x.servers[1], "eth0")} {
		seen := 0
		buf := make([]byte, 1<<16)
		must(t, c.SetReadDeadline(time.Now().Add(giveUpAfter)))
		for seen < 20 {
			n, _, err := c.ReadFrom(buf)
			must(t, err)
			if frame := buf[:n]; n > 34 && frame[12] == 8 && frame[13] == 0 && bytes.Equal(frame[26:30], frontNet.at(faultClient)[0].AsSlice()) {
				seen++
				if !bytes.Equal(frame[6:12], mac) {
					t.Fatalf("a frame has the source MAC %v, want %v", net.HardwareAddr(frame[6:12]), mac)
				}
			}
		}
	}
	for _, names := range [][]string{{"eth0", "lan0"}, {"eth0", "eth1"}} {
		cfg := x.config()
		cfg.Interfaces = names
		must(t, x.b.Apply(t.Context(), cfg))
		if got := x.b.Stats().Interfaces[1]; got.Name != names[1] || got.Now != "lan0" {
			t.Errorf("applied %v, got %+v", names, got)
		}
		back.comesBack(t)
	}
	cfg := x.config()
	cfg.Interfaces[1] = "eth7"
	if err := x.b.Apply(t.Context(), cfg); err == nil {
		t.Error("an interface was added")
	}
	front.checkUnharmed(t)
}

// TestFaultLabOtherKinds: what has been made of an interface serves too, and goes like one.
func TestFaultLabOtherKinds(t *testing.T) {
	for kind, add := range map[string]func(eth1 netlink.Link) netlink.Link{
		"bridge": func(netlink.Link) netlink.Link { return &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "over1"}} },
		"macvlan": func(l netlink.Link) netlink.Link {
			return &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "over1", ParentIndex: l.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			x := newFaultLab(t)
			x.plug(0)
			l, err := x.lab.Attach(x.golb, x.sw[1], lab.LinkConfig{Name: "eth1"})
			must(t, err)
			x.links[1] = l
			come := func() {
				x.onLink("eth1", func(eth1 netlink.Link) error {
					over := add(eth1)
					if err := netlink.LinkAdd(over); err != nil {
						return err
					}
					if kind == "bridge" {
						if err := netlink.LinkSetMaster(eth1, over.(*netlink.Bridge)); err != nil {
							return err
						}
					}
					return netlink.LinkSetUp(over)
				})
				must(t, x.golb.AddAddr("over1", backNet.prefixes(faultGolb)[0]))
			}
			cfg := x.config()
			cfg.Interfaces[1] = "over1"
			x.run(cfg)
			front, back, across := x.flows(0)
			for range 2 {
				come()
				back.comesBack(t)
				across.comesBack(t)
				front.comesBack(t)
				x.onLink("over1", netlink.LinkDel)
				x.awaitState(1, lb.InterfaceMissing)
			}
			front.checkUnharmed(t)
		})
	}
}
