package api_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

// Serve a balancer on a socket, and steer it from another program: here, halve a
// server's share.
func Example() {
	balancer, err := lb.New(lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1024, Services: []lb.Service{{
		Name: "web", VIP: netip.MustParseAddr("192.0.2.80"), Port: 80,
		Servers: []lb.Server{
			{Name: "web1", Address: netip.MustParseAddr("192.0.2.11"), Weight: new(2)},
			{Name: "web2", Address: netip.MustParseAddr("192.0.2.12"), Weight: new(2)},
		},
	}}}, lb.Env{})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "golb")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "golb.sock") // api.DefaultPath() is where golb's own commands ask

	listener, err := api.Listen(path)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, listener, api.Handler(balancer)) }()

	client := &api.Client{Path: path}
	if _, err := client.UpdateServers(ctx, api.ServerUpdate{Server: "web2", Weight: new(1)}); err != nil {
		log.Fatal(err)
	}
	st, err := client.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range st.Services[0].Servers {
		fmt.Println(s.Name, s.State, "weight", s.Weight)
	}
	_, err = client.UpdateServers(ctx, api.ServerUpdate{Server: "web3", Weight: new(1)})
	fmt.Println(err)

	cancel()
	fmt.Println("served:", <-served)
	// Output:
	// web1 active weight 2
	// web2 active weight 1
	// server web3: no service has it
	// served: <nil>
}
