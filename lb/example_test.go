package lb_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/sched"
)

// Balance port 80 of 192.0.2.80 over two servers that have this address on their
// loopback (direct server return). It needs CAP_NET_RAW and CAP_NET_ADMIN.
func Example() {
	b, err := lb.New(lb.Config{
		Interfaces: []string{"eth0"},
		Services: []lb.Service{{
			VIP: netip.MustParseAddr("192.0.2.80"), Port: 80,
			Servers: []lb.Server{
				{Address: netip.MustParseAddr("192.0.2.11")},
				{Address: netip.MustParseAddr("192.0.2.12"), Weight: new(2)},
			},
		}},
	}, lb.Env{})
	if err != nil {
		log.Fatal(err) // every mistake in the config, each with its place
	}
	log.Fatal(b.Run(context.Background()))
}

// Reload: change what runs, and apply it. A config with a mistake changes nothing.
func ExampleBalancer_Apply() {
	b, connect, stop := runInMemory(webConfig(), lb.Env{})
	defer stop()
	connect("198.51.100.1:4000", "198.51.100.2:4000")

	cfg := b.Config()
	web := &cfg.Services[0]
	web.Servers = append(web.Servers, lb.Server{Name: "web3", Address: netip.MustParseAddr("192.0.2.13")})
	if err := b.Apply(context.Background(), cfg); err != nil {
		log.Fatal(err)
	}
	connect("198.51.100.3:4000")
	printServers(b)

	web.Servers[2].Weight = new(70000)
	fmt.Println(b.Apply(context.Background(), cfg))
	// Output:
	// web1 weight 1: 1 connections
	// web2 weight 1: 1 connections
	// web3 weight 1: 1 connections
	// services[0].servers[2].weight: "70000": out of range; allowed: 0 to 65535
}

// Drain a server: it keeps its connections, up to a minute, and gets no new ones.
func ExampleBalancer_Drain() {
	b, connect, stop := runInMemory(webConfig(), lb.Env{})
	defer stop()
	connect("198.51.100.1:4000", "198.51.100.2:4000")

	ref := lb.ServerRef{Service: "web", Server: "web1"}
	if err := b.Drain(ref, time.Minute); err != nil {
		log.Fatal(err)
	}
	connect("198.51.100.3:4000", "198.51.100.4:4000")
	printServers(b)

	if err := b.Activate(ref); err != nil { // take it back
		log.Fatal(err)
	}
	printServers(b)
	// Output:
	// web1 weight 0: 1 connections
	// web2 weight 1: 3 connections
	// web1 weight 1: 1 connections
	// web2 weight 1: 3 connections
}

// Read what a balancer counts: its services, their servers, and the frames that it did
// not forward.
func ExampleBalancer_Stats() {
	b, connect, stop := runInMemory(webConfig(), lb.Env{})
	defer stop()
	connect("198.51.100.1:4000", "198.51.100.2:4000", "198.51.100.3:4000")

	st := b.Stats()
	for _, service := range st.Services {
		fmt.Println(service.Name, "up:", service.Up)
		for _, s := range service.Servers {
			fmt.Printf("%s up: %v, connections: %d (%d ever), packets: %d\n",
				s.Name, s.Up, s.Active+s.Inactive, s.Connections, s.InPackets)
		}
	}
	for reason, n := range st.Drops {
		fmt.Println("dropped:", n, reason)
	}
	fmt.Println("entries of the table:", st.Connections)
	// Output:
	// web up: true
	// web1 up: true, connections: 1 (1 ever), packets: 1
	// web2 up: true, connections: 2 (2 ever), packets: 2
	// entries of the table: 3
}

// Refuse new connections from a network; existing ones go on.
func ExampleEnv_admit() {
	denied := netip.MustParsePrefix("198.51.100.0/28")
	b, connect, stop := runInMemory(webConfig(), lb.Env{
		Admit: func(f *sched.Flow) bool { return !denied.Contains(netip.AddrFrom16(f.Src).Unmap()) },
	})
	defer stop()
	connect("198.51.100.1:4000", "198.51.100.2:4000", "198.51.100.16:4000")
	fmt.Println("connections:", b.Stats().Connections)
	fmt.Println("not admitted:", b.Stats().Drops[lb.NotAdmitted])
	// Output:
	// connections: 1
	// not admitted: 2
}

// webConfig is a service of two servers that nobody checks.
func webConfig() lb.Config {
	return lb.Config{Services: []lb.Service{{
		Name: "web", VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{
			{Name: "web1", Address: netip.MustParseAddr("192.0.2.11")},
			{Name: "web2", Address: netip.MustParseAddr("192.0.2.12")},
		},
	}}}
}

// runInMemory runs a balancer with a program's hooks, without a network or privileges;
// connect sends it a SYN from each client.
func runInMemory(cfg lb.Config, hooks lb.Env) (b *lb.Balancer, connect func(clients ...string), stop func() error) {
	wire, mac := lbtest.NewWire(), forward.MAC{2, 0, 0, 0, 0, 1}
	env := wire.Env(lbtest.NewClock(time.Unix(0, 0)), mac)
	env.Admit, env.Schedulers = hooks.Admit, hooks.Schedulers
	b, stop, err := lbtest.Start(cfg, env)
	if err != nil {
		log.Fatal(err)
	}
	return b, func(clients ...string) {
		for _, client := range clients {
			wire.Inject(lbtest.Packet{
				SrcMAC: forward.MAC{2, 0, 0, 0, 0, 2}, DstMAC: mac,
				Src: netip.MustParseAddrPort(client), Dst: netip.MustParseAddrPort("192.0.2.80:80"), Flags: forward.FlagSYN,
			}.Frame())
		}
	}, stop
}

func printServers(b *lb.Balancer) {
	for _, s := range b.Stats().Services[0].Servers {
		fmt.Printf("%s weight %d: %d connections\n", s.Name, s.Weight, s.Active+s.Inactive)
	}
}
