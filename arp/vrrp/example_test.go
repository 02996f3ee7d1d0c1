package vrrp_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/golb/golb/arp/vrrp"
)

// host is what an instance asks of its program. This one prints, and gives adverts to
// the other host.
type host struct {
	begin time.Time
	now   *time.Time
	peer  *vrrp.Instance
}

func (h *host) print(in *vrrp.Instance, what any) {
	fmt.Printf("%5.2fs %s: %v\n", h.now.Sub(h.begin).Seconds(), in.Name(), what)
}

func (h *host) Send(in *vrrp.Instance, dst netip.Addr, packet []byte) {
	if in.State() != vrrp.StateMaster {
		h.print(in, fmt.Sprintf("first advert to %s, %d bytes", dst, len(packet)))
	}
	if h.peer != nil {
		h.peer.Receive(*h.now, packet)
	}
}

func (h *host) Become(in *vrrp.Instance, s vrrp.State, why vrrp.Cause) {
	h.print(in, fmt.Sprintf("%s, %s", s, why))
}

func (h *host) Announce(in *vrrp.Instance, addr netip.Addr) { h.print(in, "announce "+addr.String()) }

func (h *host) Report(in *vrrp.Instance, e vrrp.Event) { h.print(in, e.Text) }

// Two routers share an address. The first one dies, the second one takes over.
func Example() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // time is what the caller says
	hosts := [2]*host{{now, &now, nil}, {now, &now, nil}}
	var routers []*vrrp.Instance
	for i, c := range []vrrp.Config{
		{Name: "one", Priority: 220, Source: netip.MustParseAddr("192.0.2.1")},
		{Name: "two", Priority: 200, Source: netip.MustParseAddr("192.0.2.2")},
	} {
		c.VRID = 51
		c.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.100")}
		c.Announce = vrrp.Announce{Repeat: 1, Delay: -1}
		in, err := vrrp.New(c, hosts[i])
		if err != nil {
			log.Fatal(err)
		}
		routers = append(routers, in)
	}
	hosts[0].peer, hosts[1].peer = routers[1], routers[0]

	// run calls Tick at each deadline of the routers that are alive.
	run := func(d time.Duration, alive ...*vrrp.Instance) {
		for end := now.Add(d); ; {
			next := alive[0]
			for _, in := range alive {
				if in.Deadline().Before(next.Deadline()) {
					next = in
				}
			}
			if next.Deadline().After(end) {
				now = end
				return
			}
			now = next.Deadline()
			next.Tick(now)
		}
	}
	routers[0].Start(now)
	routers[1].Start(now)
	run(10*time.Second, routers...)
	hosts[1].peer = nil
	run(10*time.Second, routers[1])

	// Output:
	//  0.00s one: backup, started
	//  0.00s two: backup, started
	//  3.14s one: first advert to 224.0.0.18, 32 bytes
	//  3.14s one: master, no adverts heard
	//  3.14s one: announce 192.0.2.100
	// 12.36s two: first advert to 224.0.0.18, 32 bytes
	// 12.36s two: master, no adverts heard
	// 12.36s two: announce 192.0.2.100
}
