package lbtest_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// A balancer in a test: one SYN goes in, one frame comes out, and a minute later the
// half-open connection is gone.
func Example() {
	wire, clock := lbtest.NewWire(), lbtest.NewClock(time.Unix(0, 0))
	mac := forward.MAC{2, 0, 0, 0, 0, 1}
	balancer, stop, err := lbtest.Start(lb.Config{Services: []lb.Service{{
		VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{{Address: netip.MustParseAddr("192.0.2.11")}},
	}}}, wire.Env(clock, mac))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	server := lbtest.MACOf(netip.MustParseAddr("192.0.2.11"))
	wire.Station(server, func(f lbtest.Frame) {
		fmt.Printf("the server got %d bytes from %v\n", len(f.Data), forward.MAC(f.Data[6:]))
	})
	syn := lbtest.Packet{
		SrcMAC: forward.MAC{2, 0, 0, 0, 0, 2}, DstMAC: mac,
		Src: netip.MustParseAddrPort("198.51.100.7:40000"), Dst: netip.MustParseAddrPort("192.0.2.80:80"),
		Flags: forward.FlagSYN,
	}
	wire.Inject(syn.Frame()) // returns when all that follows from it is done
	fmt.Println("connections:", balancer.Stats().Connections)
	clock.Advance(61 * time.Second)
	fmt.Println("connections:", balancer.Stats().Connections)
	// Output:
	// the server got 54 bytes from 02:00:00:00:00:01
	// connections: 1
	// connections: 0
}
