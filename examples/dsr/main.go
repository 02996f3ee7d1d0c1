// Command dsr balances one TCP port over servers by direct server return, and prints
// what happens: golb embedded in a program of one's own.
//
//	dsr -interface eth0 -vip 192.0.2.100:80 192.0.2.11 192.0.2.12
//
// Servers hold the VIP on their loopback; this host must not have it. It needs
// CAP_NET_RAW and CAP_NET_ADMIN.
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
	env := lb.Env{
		Logger:  slog.Default(),
		OnEvent: func(e lb.Event) { fmt.Println("event:", e.Kind, e.Server, e.Reason) },
	}
	balancer, err := lb.New(cfg, env)
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
	flags := flag.NewFlagSet("dsr", flag.ContinueOnError)
	iface := flags.String("interface", "eth0", "where clients and servers are")
	vip := flags.String("vip", "192.0.2.100:80", "address and port that clients see")
	check := flags.Duration("check", 5*time.Second, "time between two health checks of a server")
	every := flags.Duration("report", 10*time.Second, "time between two reports")
	if err := flags.Parse(args); err != nil {
		return lb.Config{}, 0, err
	}
	addr, err := netip.ParseAddrPort(*vip)
	if err != nil {
		return lb.Config{}, 0, fmt.Errorf("vip: %w", err)
	}
	service := lb.Service{VIP: addr.Addr(), Port: addr.Port(), Method: lb.DSR, Check: lb.Check{Interval: *check}}
	for _, arg := range flags.Args() {
		server, err := netip.ParseAddr(arg)
		if err != nil {
			return lb.Config{}, 0, fmt.Errorf("server: %w", err)
		}
		service.Servers = append(service.Servers, lb.Server{Address: server})
	}
	cfg := lb.Config{Interfaces: []string{*iface}, Services: []lb.Service{service}}
	return cfg, *every, nil
}

// report prints the counters until ctx ends.
func report(ctx context.Context, b *lb.Balancer, every time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
		for _, service := range b.Stats().Services {
			for _, s := range service.Servers {
				fmt.Printf("%s: %s up=%v active=%d connections=%d packets=%d\n",
					service.Name, s.Name, s.Up, s.Active, s.Connections, s.InPackets)
			}
		}
	}
}
