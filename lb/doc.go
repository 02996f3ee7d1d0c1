// Package lb is a layer-4 load balancer in userspace: it takes packets of virtual
// services from network interfaces and sends each connection's to one of the
// service's servers, as IPVS does in the Linux kernel.
//
// Balance port 80 of 192.0.2.80 over two servers that have that address on their
// loopback (direct server return):
//
//	b, err := lb.New(lb.Config{
//		Interfaces: []string{"eth0"},
//		Services: []lb.Service{{
//			VIP: netip.MustParseAddr("192.0.2.80"), Port: 80,
//			Servers: []lb.Server{
//				{Address: netip.MustParseAddr("192.0.2.11")},
//				{Address: netip.MustParseAddr("192.0.2.12"), Weight: new(2)},
//			},
//		}},
//	}, lb.Env{})
//	if err != nil {
//		log.Fatal(err) // every mistake in the config, each with its place
//	}
//	log.Fatal(b.Run(context.Background()))
//
// The VIP is configured nowhere on the balancer's host: golb answers ARP and
// neighbour solicitations for it. Servers are checked by TCP connect every five
// seconds, and get new connections by weighted least connections; all of this has
// settings in [Config]. [Balancer.Apply] replaces the configuration while packets
// flow; [Balancer.Stats] counts.
//
// # A packet's way
//
// A worker takes a batch of frames from its port (worker.go), parses each
// (package forward), looks its connection up (table.go, index.go) or schedules a
// new one (schedule.go, package sched), moves the connection's state on (state.go)
// and rewrites the frame (package forward). Configuration reaches workers as an
// immutable snapshot (plane.go).
package lb
