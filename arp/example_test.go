package arp_test

import (
	"context"
	"log"
	"net/netip"

	"github.com/golb/golb/arp"
)

// A VIP is taken over only where nobody has it, and said to be here.
func Example() {
	vip := netip.MustParseAddr("192.0.2.100")
	link, err := arp.Open(arp.Config{Interface: "eth0"})
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
		log.Printf("server is at %x: %t", mac, ok)
	})
	log.Fatal(link.Run(ctx))
}
