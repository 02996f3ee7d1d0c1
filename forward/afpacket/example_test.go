package afpacket_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
)

// A balancer with one server, which does not look at what it forwards.
func Example() {
	server := forward.MAC{0x02, 0, 0, 0, 0, 0x07}
	port, err := afpacket.Open(afpacket.Config{
		Interface: "eth0",
		Filter:    forward.Filter{VIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer port.Close()

	frames := make([]forward.Frame, 64)
	for {
		n, err := port.Recv(frames)
		if errors.Is(err, net.ErrClosed) {
			break // another goroutine has called Close
		} else if err != nil {
			log.Fatal(err)
		}
		keep := frames[:0]
		for i := range frames[:n] {
			var p forward.Packet
			if forward.Parse(&frames[i], &p) != forward.None || p.TTL <= 1 {
				continue
			}
			forward.DSR(&frames[i], &p, server, port.MAC())
			keep = append(keep, frames[i])
		}
		if _, err := port.Send(keep); err != nil {
			log.Fatal(err)
		}
	}
	st := port.Stats()
	fmt.Printf("received %d frames, dropped %d\n", st.Received, st.ReceiveDropped)
}

// Workers share an interface: each has a port of its own, and receives all packets of
// its flows.
func ExampleOpenGroup() {
	ports, err := afpacket.OpenGroup(afpacket.Config{Interface: "eth0"}, 4)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range ports {
		defer p.Close()
		exact, err := p.SetFilter(forward.Filter{VIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/48")}})
		if err != nil {
			log.Fatal(err)
		}
		if !exact {
			log.Print("too many prefixes: the port receives all IP packets for this host")
		}
	}
}
