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
// The VIP is configured nowhere on the balancer's host: golb answers ARP and neighbor
// solicitations for it. Servers are checked by TCP connect every five seconds, and get
// new connections by weighted least connections; all of this has settings in [Config].
//
// # Tasks
//
//   - make, run and stop a balancer: [New], [Balancer.Run], whose context ends it
//   - check a config: [Config.Validate], [Config.ValidateHost]
//   - reload it while packets flow: [Balancer.Apply]; what runs now: [Balancer.Config]
//   - add, change and remove one service: [Balancer.AddService], [Balancer.EditService],
//     [Balancer.RemoveService]; or one server: [Balancer.AddServer],
//     [Balancer.EditServer], [Balancer.RemoveServer]
//   - operate a server: [Balancer.SetWeight], [Balancer.Drain], [Balancer.Halt],
//     [Balancer.Activate]
//   - take over VIPs and give them up: [Balancer.SetRole], [Balancer.Roles]
//   - read counters, and why frames were dropped: [Balancer.Stats], [Reason]; and which
//     servers are up, and why not: [Balancer.Health]
//   - list and end connections: [Balancer.Connections], [Balancer.Connection],
//     [Balancer.DeleteConnections]; and persistence: [Balancer.DeleteTemplates]
//
// Packages below this one read configs from YAML (lb/conf) and from ipvsadm's commands
// (lb/ipvsadm), serve a balancer on a socket (lb/api), say where a packet would go
// (lb/simulate) and test with all of it in memory (lb/lbtest). The directory examples
// has whole programs.
//
// # Hooks
//
// A program takes part in a balancer's work by these fields of [Env]:
//
//	Schedulers          schedulers that a config may name
//	Checks              types of health checks that a config may name
//	Checker             the health check of one server, in place of the config's
//	Admit               whether a new connection may begin
//	ClientKey           what stands for a client in persistence
//	OnConnection        begin and end of connections, or of a sample of them
//	OnEvent, OnAlert    what happens; what people are to be told of it
//	Dial, Listen        how health checks reach servers
//	Logger              logs
//
// The other fields (clock, random numbers, ports, links, routes) replace what a balancer
// takes from its host.
//
// Schedulers, Admit, ClientKey and OnConnection are called by workers, on the way of a
// packet and several at a time: they must be safe for concurrent use, allocate nothing,
// not block, and not call the balancer.
//
// # Packets
//
// Packets are the matter of package lb/internal/dataplane: its documentation names the
// files that a packet passes through, in order. Package lb tells it what the config says
// and which servers are up. A program sees of it the frames that a [Port] lends
// ([forward.Frame]), the [sched.Flow] that hooks get, entries of the connection table
// ([Connection]), and why a frame was not forwarded ([Reason]).
package lb
