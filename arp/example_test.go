package arp_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/golb/golb/arp"
)

// A host takes over a VIP unless another host has it, and finds a server's MAC.
func Example() {
	vip := netip.MustParseAddr("192.0.2.100")
	link, err := arp.Open(arp.Config{
		Interface:  "eth0",
		OnConflict: func(c arp.Conflict) { log.Printf("%x claims %s too", c.MAC, c.VIP) },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	go func() {
		if err := link.Probe(ctx, vip); err != nil {
			log.Fatal(err) // arp: 192.0.2.100 is in use by 02:00:5e:10:00:01 on eth0
		}
		if err := link.SetVIPs([]arp.VIP{{Addr: vip}}); err != nil {
			log.Fatal(err)
		}
		if err := link.Announce(ctx, vip); err != nil {
			log.Print(err)
		}
	}()
	link.Resolve(netip.MustParseAddr("192.0.2.11"), func(mac [6]byte, ok bool) {
		log.Printf("server is at %x, answers: %t", mac, ok)
	})
	log.Fatal(link.Run(ctx))
}

// Two virtual routers of VRRP, 7 and 8, on one interface. As long as the host is the
// backup of one, the VIPs of that one are left out.
func ExampleLink_SetVIPs() {
	link, err := arp.Open(arp.Config{Interface: "eth0"})
	if err != nil {
		log.Fatal(err)
	}
	defer link.Close()
	router7 := []arp.VIP{
		{Addr: netip.MustParseAddr("192.0.2.100"), MAC: [6]byte{0, 0, 0x5e, 0, 1, 7}},
		{Addr: netip.MustParseAddr("2001:db8::100"), MAC: [6]byte{0, 0, 0x5e, 0, 2, 7}},
	}
	router8 := []arp.VIP{
		{Addr: netip.MustParseAddr("192.0.2.101"), MAC: [6]byte{0, 0, 0x5e, 0, 1, 8}},
	}
	if err := link.SetVIPs(router7); err != nil { // master of 7, backup of 8
		log.Fatal(err)
	}
	if err := link.SetVIPs(append(router7, router8...)); err != nil { // master of both
		log.Fatal(err)
	}
}

func ExampleConflictError() {
	err := &arp.ConflictError{Conflict: arp.Conflict{
		VIP:       netip.MustParseAddr("192.0.2.100"),
		MAC:       [6]byte{0x02, 0x00, 0x5e, 0x10, 0x00, 0x01},
		Interface: "eth0",
	}}
	fmt.Println(err)
	// Output: arp: 192.0.2.100 is in use by 02:00:5e:10:00:01 on eth0
}
