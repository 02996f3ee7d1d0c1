package vrrp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func on(ifname string, c Config) Config {
	c.Interface, c.Name = ifname, ifname
	return c
}

func inGroup(c Config) Config {
	c.Group = "g"
	return c
}

func TestRouterRefusesWhatAdvertsDoNotTellApart(t *testing.T) {
	peers := func(c Config, last ...byte) Config {
		for _, n := range last {
			c.Peers = append(c.Peers, Peer{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n})})
		}
		return c
	}
	vrid := func(c Config, v uint8) Config { c.VRID = v; return c }
	a := on("eth0", config4(1, 100))
	for _, c := range []struct {
		name string
		b    Config
		want string
	}{
		{"same", on("eth0", config4(1, 50)), "vrrp: eth0: VRID 51: is that of eth0 on the same interface"},
		{"VRID", vrid(a, 52), ""},
		{"interface", on("eth1", config4(1, 100)), ""},
		{"family", on("eth0", config6(1, 100)), ""},
		{"unicast beside multicast", peers(a, 2), "is that of"},
	} {
		_, err := NewRouter(nil, a, c.b)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := NewRouter(nil, peers(a, 2, 3), peers(a, 4)); err != nil {
		t.Errorf("unicast with other peers: %v", err)
	}
	if _, err := NewRouter(nil, peers(a, 2, 3), peers(a, 3)); err == nil {
		t.Error("unicast with a common peer is taken")
	}
	if _, err := NewRouter(nil, Config{}, Config{}); err == nil || strings.Count(err.Error(), "VRID 0: want") != 2 {
		t.Errorf("%v, want the errors of both", err)
	}
}

func TestRouterGivesAdvertsToTheirInstance(t *testing.T) {
	peers := func(c Config, n byte) Config {
		c.Peers = []Peer{{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n})}}
		return c
	}
	second := on("eth0", config4(1, 100))
	second.VRID = 52
	x := newNetwork().add(on("eth0", config4(1, 100)), second, on("eth0", config6(1, 100)), on("eth1", config4(1, 100)),
		peers(on("eth2", config4(1, 100)), 2), peers(on("eth2", config4(1, 100)), 3)).start(t)
	toUs := func(c Config) Config { c.Multicast = netip.MustParseAddr("192.0.2.1"); return c }
	six, other := config6(2, 150), config4(2, 150)
	other.VRID = 52
	for _, c := range []struct {
		name   string
		ifname string
		packet []byte
		want   int // index of the instance
		reason Reason
	}{
		{"first", "eth0", advertBytes(config4(2, 150), 150), 0, ReasonNone},
		{"VRID", "eth0", advertBytes(other, 150), 1, ReasonNone},
		{"IPv6", "eth0", advertBytes(six, 150), 2, ReasonNone},
		{"interface", "eth1", advertBytes(config4(2, 150), 150), 3, ReasonNone},
		{"first peer", "eth2", advertBytes(toUs(config4(2, 150)), 150), 4, ReasonNone},
		{"second peer", "eth2", advertBytes(toUs(config4(3, 150)), 150), 5, ReasonNone},
		{"unknown VRID", "eth1", advertBytes(other, 150), -1, ReasonVRID},
		{"unknown interface", "eth9", advertBytes(other, 150), -1, ReasonVRID},
		{"no VRRP", "eth0", []byte{0x45}, -1, ReasonLength},
	} {
		var before []uint64
		for _, in := range x.router.Instances() {
			before = append(before, in.Stats().Received)
		}
		if got := x.router.Receive(x.net.now, c.ifname, c.packet); got != c.reason {
			t.Errorf("%s: %q, want %q", c.name, got, c.reason)
		}
		for i, in := range x.router.Instances() {
			if got := in.Stats().Received - before[i]; (got == 1) != (i == c.want) {
				t.Errorf("%s: instance %d got %d", c.name, i, got)
			}
		}
	}
}

// wires is two nodes with instances on eth0 and eth1.
type wires struct {
	*network
	a, b *node
	cut  map[string]bool // interfaces on which nothing arrives
}

// wire makes adverts arrive at the other node, on their interface.
type wire struct {
	*node
	w *wires
}

func (x wire) Send(in *Instance, dst netip.Addr, data []byte) {
	x.node.Send(in, netip.Addr{}, data) // records it, reaches nobody
	other := x.w.a
	if x.node == other {
		other = x.w.b
	}
	if ifname := in.cfg.Interface; other.up && !x.w.cut[ifname] {
		x.w.flying = append(x.w.flying, packet{x.w.now.Add(time.Millisecond), other, append([]byte(ifname+"|"), data...)})
	}
}

func (w *wires) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		for i := 0; i < len(w.flying); i++ {
			if p := w.flying[i]; !p.at.After(w.now) {
				ifname, data, _ := strings.Cut(string(p.data), "|")
				w.flying = slices.Delete(w.flying, i, i+1)
				p.to.router.Receive(w.now, ifname, []byte(data))
				i = -1
			}
		}
		next := end
		for _, x := range w.nodes {
			if d := x.router.Deadline(); x.up && !d.IsZero() && d.Before(next) {
				next = d
			}
		}
		for _, p := range w.flying {
			if p.at.Before(next) {
				next = p.at
			}
		}
		w.now = next
		for _, x := range w.nodes {
			if x.up {
				x.router.Tick(w.now)
			}
		}
		if !next.Before(end) {
			return
		}
	}
}

// groups is a sync group of two instances on each of two nodes, the first of which is
// master.
func groups(t *testing.T) *wires {
	t.Helper()
	w := &wires{network: newNetwork(), cut: map[string]bool{}}
	for i, prio := range []uint8{150, 100} {
		n := byte(i + 1)
		x := w.add(inGroup(on("eth0", config4(n, prio))), inGroup(on("eth1", config4(n, prio))))
		if i == 0 {
			w.a = x
		} else {
			w.b = x
		}
		r, err := NewRouter(wire{x, w}, x.cfgs...)
		if err != nil {
			t.Fatal(err)
		}
		x.router, x.up = r, true
	}
	w.a.router.Start(w.now)
	w.b.router.Start(w.now)
	w.run(10*time.Second + 200*time.Millisecond)
	if got := w.states(); got != "master master backup backup" {
		t.Fatal(got)
	}
	w.a.log, w.b.log = nil, nil
	return w
}

func (w *wires) states() string {
	var l []string
	for _, x := range w.nodes {
		for _, in := range x.router.Instances() {
			l = append(l, in.State().String())
		}
	}
	return strings.Join(l, " ")
}

// TestSyncGroupFaultOfOneIsFaultOfAll: both instances say priority 0 where they can.
func TestSyncGroupFaultOfOneIsFaultOfAll(t *testing.T) {
	w := groups(t)
	in := w.a.router.Instances()[1]
	in.SetFault(w.now, true)
	want := []string{"eth0: send 0", "eth0: send 0", "eth0: fault, follows its sync group",
		"eth1: send 0", "eth1: send 0", "eth1: fault, fault"}
	if !slices.Equal(w.a.log, want) {
		t.Errorf("%q", w.a.log)
	}
	w.run(700 * time.Millisecond)
	if got := w.states(); got != "fault fault master master" {
		t.Error(got)
	}
	if s := w.a.router.Instances()[0].Status(); s.Faulty {
		t.Errorf("%+v", s)
	}
	in.SetFault(w.now, false)
	w.run(3300 * time.Millisecond)
	if got := w.states(); got != "backup backup master master" {
		t.Error(got)
	}
	w.run(300 * time.Millisecond)
	if got := w.states(); got != "master master backup backup" {
		t.Error(got)
	}
}

// TestSyncGroupWaitsForAllToBeMaster: a link of the master fails so that its priority 0
// is heard on the other one only. Both change when the silent one is given up.
func TestSyncGroupWaitsForAllToBeMaster(t *testing.T) {
	w := groups(t)
	w.cut["eth1"] = true
	last := w.a.router.Instances()[1].sent
	w.a.router.Instances()[1].SetFault(w.now, true)
	w.run(700 * time.Millisecond)
	if got := w.states(); got != "fault fault backup backup" || !w.b.router.Instances()[0].Status().Wants {
		t.Error(got)
	}
	for w.b.router.Instances()[0].State() != StateMaster && w.now.Sub(last) < time.Minute {
		w.run(time.Millisecond)
	}
	if got := w.now.Sub(last); w.states() != "fault fault master master" || !near(got, 3610*time.Millisecond) {
		t.Errorf("%s after %v", w.states(), got)
	}
}

func TestSyncGroupThatWaitsHearsTheMasterAgain(t *testing.T) {
	w := groups(t)
	w.cut["eth0"] = true // adverts are lost on one wire only
	w.run(10 * time.Second)
	if got := w.states(); got != "master master backup backup" || !w.b.router.Instances()[0].Status().Wants {
		t.Fatal(got)
	}
	w.cut["eth0"] = false
	w.run(1100 * time.Millisecond)
	if w.b.router.Instances()[0].Status().Wants {
		t.Error("still wants to be master")
	}
	w.run(10 * time.Second)
	if got := w.states(); got != "master master backup backup" {
		t.Error(got)
	}
}

func TestSyncGroupStepsBackTogether(t *testing.T) {
	w := groups(t)
	higher := advertOf(config4(9, 200), 200)
	if got := w.a.router.Receive(w.now, "eth0", higher.Append(nil)); got != ReasonNone {
		t.Fatal(got)
	}
	if got := w.states(); got != "backup backup backup backup" {
		t.Error(got)
	}
}

func TestSyncGroupReleasesAndTakesOverTogether(t *testing.T) {
	w := groups(t)
	w.a.router.Instances()[0].Release(w.now)
	w.run(time.Second)
	if got := w.states(); got != "backup backup master master" {
		t.Error(got)
	}
	for _, in := range w.a.router.Instances() {
		in.SetPriority(w.now, 200)
	}
	w.a.router.Instances()[1].TakeOver(w.now)
	w.run(10 * time.Millisecond)
	if got := w.states(); got != "master master backup backup" {
		t.Error(got)
	}
	w.a.router.Shutdown(w.now)
	w.a.up = false
	w.run(time.Second)
	if got := w.states(); got != "initialize initialize master master" {
		t.Error(got)
	}
}

// TestSyncGroupAnnouncesForAllAfterALowerAdvert as keepalived does: what the lower one
// did on one wire it did on the others.
func TestSyncGroupAnnouncesForAllAfterALowerAdvert(t *testing.T) {
	w := groups(t)
	lower := advertOf(config4(9, 50), 50)
	w.a.router.Receive(w.now, "eth0", lower.Append(nil))
	if w.a.count("eth0: announce") != 5 || w.a.count("eth1: announce") != 5 || w.a.count("eth1: send") != 0 {
		t.Errorf("%q", w.a.log)
	}

	w.a.router.Instances()[1].Shutdown(w.now)
	w.run(time.Second)
	w.a.log = nil
	w.a.router.Receive(w.now, "eth0", lower.Append(nil))
	if w.a.count("eth0: announce") != 5 || w.a.count("eth1: announce") != 0 {
		t.Errorf("with one of them shut down: %q", w.a.log)
	}
}

func TestSyncGroupOfOwnersStartsAtOnce(t *testing.T) {
	c := inGroup(on("eth0", config4(1, 255)))
	c.StartMaster = true
	d := c
	d.Interface, d.Name = "eth1", "eth1"
	x := newNetwork().add(c, d).start(t)
	for _, in := range x.router.Instances() {
		if in.State() != StateMaster {
			t.Errorf("%s: %s", in.Name(), in.State())
		}
	}
}
