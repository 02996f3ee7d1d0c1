// Command own-scheduler runs a balancer with a scheduler of its own, which the config
// names as it names golb's:
//
//	own-scheduler golb.yaml
//
// With "scheduler: lowest" a service's new connections go to the server with the lowest
// address that is up and has a weight; the others wait until it fails. It needs
// CAP_NET_RAW and CAP_NET_ADMIN.
package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
	"github.com/golb/golb/sched"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: own-scheduler golb.yaml")
	}
	env := lb.Env{Logger: slog.Default(), Schedulers: schedulers()}
	doc, err := conf.ReadIn(env, args[0])
	if err != nil {
		return err
	}
	balancer, err := lb.New(doc.Config, env)
	if err != nil {
		return err
	}
	return doc.Locate(balancer.Run(ctx))
}

// schedulers are what a config may name beside golb's own.
func schedulers() map[string]func(sched.Options) (sched.Scheduler, error) {
	return map[string]func(sched.Options) (sched.Scheduler, error){
		"lowest": func(sched.Options) (sched.Scheduler, error) { return new(lowest), nil },
	}
}

// lowest picks the server with the lowest address. Servers that are down are not in its
// list.
type lowest struct {
	sorted atomic.Pointer[[]*sched.Server] // replaced as a whole, so that Pick takes no lock
}

func (*lowest) Name() string { return "lowest" }

func (l *lowest) Added(list []*sched.Server, _ *sched.Server)   { l.set(list) }
func (l *lowest) Removed(list []*sched.Server, _ *sched.Server) { l.set(list) }

// Edited does nothing: Pick reads the weights.
func (l *lowest) Edited([]*sched.Server, *sched.Server) {}

func (l *lowest) set(list []*sched.Server) {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b *sched.Server) int { return bytes.Compare(a.Addr[:], b.Addr[:]) })
	l.sorted.Store(&sorted)
}

func (l *lowest) Pick(*sched.Flow) *sched.Server {
	sorted := l.sorted.Load()
	if sorted == nil {
		return nil // no server was added yet
	}
	for _, s := range *sorted {
		if s.Eligible() {
			return s
		}
	}
	return nil
}
