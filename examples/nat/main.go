// Command nat balances one TCP port over servers by NAT:
//
//	nat -interfaces eth0,eth1 -vip 192.0.2.100:80 10.0.0.11:8080 10.0.0.12:8080
//
// Clients are reached by one of the interfaces and servers by another, or all by the
// same. Servers need nothing of the VIP, and may listen on another port; their default
// route leads to this host, by which their answers go back. This host must not have the
// VIP and does not forward (net.ipv4.ip_forward is 0). It needs CAP_NET_RAW and
// CAP_NET_ADMIN.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golb/golb/lb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, every, err := config(args)
	if err != nil {
		return err
	}
	balancer, err := lb.New(cfg, lb.Env{
		Logger:  slog.Default(),
		OnEvent: func(e lb.Event) { fmt.Println("event:", e.Kind, e.Server, e.Reason) },
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return balancer.Run(ctx) })
	g.Go(func() error { return report(ctx, balancer, every) })
	return g.Wait()
}

// config makes golb's config of the command line.
func config(args []string) (lb.Config, time.Duration, error) {
	flags := flag.NewFlagSet("nat", flag.ContinueOnError)
	interfaces := flags.String("interfaces", "eth0", "where clients and servers are, separated by commas")
	vip := flags.String("vip", "192.0.2.100:80", "address and port that clients see")
	every := flags.Duration("report", 10*time.Second, "time between two reports")
	if err := flags.Parse(args); err != nil {
		return lb.Config{}, 0, err
	}
	addr, err := netip.ParseAddrPort(*vip)
	if err != nil {
		return lb.Config{}, 0, fmt.Errorf("vip: %w", err)
	}
	service := lb.Service{VIP: addr.Addr(), Port: addr.Port(), Method: lb.NAT}
	for _, arg := range flags.Args() {
		server, err := netip.ParseAddrPort(arg)
		if err != nil {
			return lb.Config{}, 0, fmt.Errorf("server: %w", err)
		}
		service.Servers = append(service.Servers, lb.Server{Address: server.Addr(), Port: server.Port()})
	}
	return lb.Config{Interfaces: strings.Split(*interfaces, ","), Services: []lb.Service{service}}, *every, nil
}

// report prints what went to each server and came from it, until ctx ends.
func report(ctx context.Context, b *lb.Balancer, every time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
		for _, s := range b.Stats().Services[0].Servers {
			fmt.Printf("%s up=%v connections=%d in=%d out=%d\n", s.Name, s.Up, s.Connections, s.InBytes, s.OutBytes)
		}
	}
}
