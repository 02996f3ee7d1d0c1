package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
)

// testMonitor tells what a test gives it.
type testMonitor struct {
	lists  chan []HostInterface
	errs   chan error
	closed chan struct{}
}

func newTestMonitor(list ...HostInterface) *testMonitor {
	m := &testMonitor{lists: make(chan []HostInterface, 1), errs: make(chan error), closed: make(chan struct{})}
	m.lists <- list
	return m
}

func (m *testMonitor) Next() ([]HostInterface, error) {
	select {
	case list := <-m.lists:
		return list, nil
	case err := <-m.errs:
		return nil, err
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *testMonitor) Close() error {
	close(m.closed)
	return nil
}

// hostInterface is an interface that is up.
func hostInterface(index int, name string) HostInterface {
	return HostInterface{Index: index, Name: name, MAC: forward.MAC{2, 0, 0, 0, 1, byte(index)}, MTU: 1500, Up: true, Carrier: true}
}

// changedInterface is one with a change.
func changedInterface(h HostInterface, change func(*HostInterface)) HostInterface {
	change(&h)
	return h
}

// followed opens a balancer on world0 and world1, of which the host has list.
func followed(t *testing.T, cfg Config, list ...HostInterface) *bed {
	t.Helper()
	x := &bed{rig: &rig{now: time.Unix(1e9, 0)}, world: newWorld()}
	env := x.world.env(func() time.Time { return x.now })
	env.OpenInterfaces = func() (InterfaceMonitor, error) { return newTestMonitor(list...), nil }
	var err error
	x.b, err = New(onWorld(cfg), env)
	must(t, err)
	x.n, err = x.b.open(t.Context())
	must(t, err)
	return x
}

// now tells the balancer what the host has, and returns the events of that.
func (x *bed) nowHas(list ...HostInterface) (told []string) {
	x.n.present = list
	events, _ := x.n.updateInterfaces(x.b)
	for _, e := range events {
		told = append(told, strings.TrimSpace(fmt.Sprint(e.Interface, " ", e.Kind, " ", e.Reason)))
	}
	return told
}

// places are index and state of the interfaces.
func (x *bed) places() string {
	var list []string
	for _, i := range x.b.Stats().Interfaces {
		list = append(list, fmt.Sprintf("%d %s", i.Index, i.State))
	}
	return strings.Join(list, ", ")
}

func TestInterfacesAreFollowedByIndex(t *testing.T) {
	world0, world1 := hostInterface(1, "world0"), hostInterface(2, "world1")
	named := func(h HostInterface, name string) HostInterface {
		return changedInterface(h, func(h *HostInterface) { h.Name = name })
	}
	down := changedInterface(world1, func(h *HostInterface) { h.Up, h.Carrier = false, false })
	deaf := changedInterface(world1, func(h *HostInterface) { h.Carrier = false })
	for name, tt := range map[string]struct {
		steps [][]HostInterface
		want  string   // in the end
		told  []string // by the last step
	}{
		"nothing changes":   {[][]HostInterface{{world1, world0}}, "1 up, 2 up", nil},
		"another one comes": {[][]HostInterface{{world0, world1, hostInterface(3, "eth3")}}, "1 up, 2 up", nil},
		"set down":          {[][]HostInterface{{world0, down}}, "1 up, 2 down", []string{"world1 interface_down down"}},
		"no carrier":        {[][]HostInterface{{world0, deaf}}, "1 up, 2 no carrier", []string{"world1 interface_down no carrier"}},
		"up again":          {[][]HostInterface{{world0, deaf}, {world0, world1}}, "1 up, 2 up", []string{"world1 interface_up"}},
		"deleted":           {[][]HostInterface{{world0}}, "1 up, 2 missing", []string{"world1 interface_down missing"}},
		"all deleted":       {[][]HostInterface{{}}, "1 missing, 2 missing", []string{"world0 interface_down missing", "world1 interface_down missing"}},
		"made anew":         {[][]HostInterface{{world0}, {world0, hostInterface(7, "world1")}}, "1 up, 7 up", []string{"world1 interface_up", "world1 interface index 7 in place of 2", "world1 interface MAC 02:00:00:00:01:07 in place of 02:00:00:00:01:02"}},
		"made anew at once": {[][]HostInterface{{world0, hostInterface(7, "world1")}}, "1 up, 7 up", []string{"world1 interface index 7 in place of 2", "world1 interface MAC 02:00:00:00:01:07 in place of 02:00:00:00:01:02"}},
		"renamed":           {[][]HostInterface{{world0, named(world1, "lan0")}}, "1 up, 2 up", []string{"world1 interface name lan0 in place of world1"}},
		"names are swapped": {[][]HostInterface{{named(world0, "world1"), named(world1, "world0")}}, "1 up, 2 up", []string{"world0 interface name world1 in place of world0", "world1 interface name world0 in place of world1"}},
		"another takes over the old name": {
			[][]HostInterface{{world0, named(world1, "lan0")}, {world0, named(world1, "lan0"), hostInterface(7, "world1")}}, "1 up, 2 up", nil,
		},
		"the renamed one is deleted, and another has the old name": {
			[][]HostInterface{{world0, named(world1, "lan0"), hostInterface(7, "world1")}, {world0, hostInterface(7, "world1")}}, "1 up, 7 up",
			[]string{"world1 interface index 7 in place of 2", "world1 interface name world1 in place of lan0", "world1 interface MAC 02:00:00:00:01:07 in place of 02:00:00:00:01:02"},
		},
		"the old name of one is that of a held one": {[][]HostInterface{{named(world0, "world1")}}, "1 up, 2 missing", []string{"world0 interface name world1 in place of world0", "world1 interface_down missing"}},
		"another MTU": {[][]HostInterface{{world0, changedInterface(world1, func(h *HostInterface) { h.MTU = 9000 })}}, "1 up, 2 up", []string{"world1 interface MTU 9000 in place of 1500"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := followed(t, Config{Services: []Service{applyService(0, 1)}}, world0, world1)
			var told []string
			for _, list := range tt.steps {
				told = x.nowHas(list...)
			}
			if got := x.places(); got != tt.want || !slices.Equal(told, tt.told) {
				t.Errorf("got %s and %q, want %s and %q", got, told, tt.want, tt.told)
			}
			if again := x.nowHas(tt.steps[len(tt.steps)-1]...); len(again) > 0 {
				t.Errorf("told again: %q", again)
			}
		})
	}
}

// TestFramesHaveTheMACAndSizeOfNow: of the interface that they leave by.
func TestFramesHaveTheMACAndSizeOfNow(t *testing.T) {
	x := followed(t, Config{Services: []Service{applyService(0, 1)}}, hostInterface(1, "world0"), hostInterface(2, "world1"))
	x.ports = []*rigPort{&x.world.ports[0].rigPort}
	syn := func() []byte {
		return rigFrame(rigClient, TCP, netip.MustParseAddrPort("198.51.100.1:4000"), applyVIP(0), uint8(forward.FlagSYN))
	}
	now := changedInterface(hostInterface(1, "world0"), func(h *HostInterface) { h.MAC = forward.MAC{2, 7} })
	x.nowHas(now, hostInterface(2, "world1"))
	if reason, sent := x.handle(0, syn()); reason != forwarded || len(sent) != 1 || forward.MAC(sent[0][6:12]) != now.MAC {
		t.Errorf("%v, sent %x, want the source MAC %v", reason, sent, now.MAC)
	}
	now.MTU = 39
	x.nowHas(now, hostInterface(2, "world1"))
	if reason, sent := x.handle(0, syn()); len(sent) < 2 {
		t.Errorf("%v, sent %x, want fragments", reason, sent)
	}
}

// TestAPortThatFailsIsOpenedAgain: also where nobody says that the interface has changed.
func TestAPortThatFailsIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startFollowed(t, hostInterface(1, "world0"), hostInterface(2, "world1"))
		before := len(x.world.ports)
		x.world.fail(before-1, errors.New("so says the test"))
		time.Sleep(10 * reopenAfter)
		synctest.Wait()
		if len(x.world.ports) != before+1 {
			t.Errorf("%d ports to receive from were opened, want %d", len(x.world.ports), before+1)
		}
		if got := x.places(); got != "1 up, 2 up" {
			t.Error(got)
		}
	})
}

// TestAnInterfaceThatCannotBeOpenedIsTriedAgain: it is said once.
func TestAnInterfaceThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startFollowed(t, hostInterface(1, "world0"))
		for range 3 {
			x.world.on("open world1", 0, func(context.Context) error { return errStep })
			x.monitor.lists <- []HostInterface{hostInterface(1, "world0"), hostInterface(2, "world1")}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := x.b.Stats().Interfaces[1]; got.State != InterfaceUnusable || !strings.Contains(got.Reason, errStep.Error()) {
			t.Errorf("got %+v", got)
		}
		time.Sleep(2 * retryAfter)
		synctest.Wait()
		if got := x.places(); got != "1 up, 2 up" {
			t.Error(got)
		}
		if got := x.eventsOf("world1"); len(got) != 3 { // missing, unusable, up
			t.Errorf("told %q", got)
		}
	})
}

// TestAMonitorThatFailsIsOpenedAgain: what changed meanwhile is found.
func TestAMonitorThatFailsIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startFollowed(t, hostInterface(1, "world0"))
		x.next = newTestMonitor(hostInterface(1, "world0"), hostInterface(2, "world1"))
		x.monitor.errs <- errStep
		time.Sleep(10 * reopenAfter)
		synctest.Wait()
		if got := x.places(); got != "1 up, 2 up" {
			t.Error(got)
		}
	})
}

// runningBed is a balancer that runs in a bubble until the test ends.
type runningBed struct {
	*bed
	monitor, next *testMonitor
}

func startFollowed(t *testing.T, list ...HostInterface) *runningBed {
	t.Helper()
	x := &runningBed{bed: &bed{rig: &rig{}, world: newWorld()}, monitor: newTestMonitor(list...)}
	x.next = x.monitor
	env := x.world.env(time.Now)
	env.OpenInterfaces = func() (InterfaceMonitor, error) { return x.next, nil }
	var err error
	x.b, err = New(onWorld(Config{Services: []Service{applyService(0, 1)}}), env)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	synctest.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	return x
}

// eventsOf are the events about an interface.
func (x *runningBed) eventsOf(name string) (list []string) {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	for _, e := range x.world.events {
		if e.Interface == name {
			list = append(list, fmt.Sprint(e.Kind, " ", e.Reason))
		}
	}
	return list
}

// fail has a port that receives fail.
func (w *world) fail(number int, err error) {
	w.mu.Lock()
	p := w.ports[number]
	w.mu.Unlock()
	p.failure <- err
}

// TestVIPsAreClaimedWhereAnInterfaceComes: after they were probed there, which a Link that
// does not know yet that it is up cannot do, and as long as no other host has them.
func TestVIPsAreClaimedWhereAnInterfaceComes(t *testing.T) {
	for name, tt := range map[string]struct {
		probe error
		told  int
	}{"at once": {nil, 0}, "the link is up later": {ErrLinkDown, 0}, "another host has it at first": {&ConflictError{Conflict: Conflict{VIP: applyVIP(0).Addr(), MAC: forward.MAC{2, 9}, Interface: "world1", OnLink: true}}, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := startFollowed(t, hostInterface(1, "world0"))
				if tt.probe != nil {
					x.world.on("Probe world1", 0, func(context.Context) error { return tt.probe })
				}
				x.monitor.lists <- []HostInterface{hostInterface(1, "world0"), hostInterface(2, "world1")}
				time.Sleep(2 * probeAgainAfter)
				synctest.Wait()
				conflicts := 0
				x.world.mu.Lock()
				defer x.world.mu.Unlock()
				for _, e := range x.world.events {
					if e.Kind == EventVIPConflict {
						conflicts++
					}
				}
				l := x.world.links[1]
				if len(l.vips) != 1 || len(l.probed) == 0 || len(l.announced) == 0 || conflicts != tt.told {
					t.Errorf("answers for %v, probed %v, announced %v, told %d conflicts", l.vips, l.probed, l.announced, conflicts)
				}
			})
		})
	}
}
