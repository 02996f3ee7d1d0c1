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
// neighbor solicitations for it. Servers are checked by TCP connect every five
// seconds, and get new connections by weighted least connections; [Config] has the
// settings of all this, [Env] the hooks for a program's own checks, schedulers and
// events. While packets flow, [Balancer.Apply] replaces the config, all or nothing,
// [Balancer.Drain] and its siblings change one server, [Balancer.SetRole] claims and
// gives up VIPs, and [Balancer.Stats] and [Balancer.Health] report.
//
// # The path of a packet
//
// This package is the control plane: config, health, next hops, roles, events. The data
// plane is lb/internal/dataplane, whose package documentation names the files that a packet
// crosses: a worker takes a batch of frames from its port, parses each (package forward),
// finds its connection or schedules a new one (package sched), updates the connection's
// state and rewrites the frame (package forward). The control plane hands it an immutable
// snapshot of what it needs.
package lb
