package lb

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
)

// threadPort tells where the thread that receives from it may run.
type threadPort struct {
	rigPort
	worker int
	where  chan<- threadAt
	asked  bool
	ended  chan struct{}
}

type threadAt struct {
	worker int
	cpus   []int
}

func (p *threadPort) Recv([]forward.Frame) (int, error) {
	if !p.asked {
		p.asked = true
		cpus, _ := afpacket.Processors()
		p.where <- threadAt{p.worker, cpus}
	}
	<-p.ended
	return 0, net.ErrClosed
}

func (p *threadPort) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

func TestThreadsAreWhereTheConfigSays(t *testing.T) {
	all, err := afpacket.Processors()
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	for _, c := range []struct {
		name          string
		workers       int
		cpus          []int
		busy          bool
		wantInterface int // threads
		want          func(worker int) []int
		err           error
	}{
		{"not pinned", 2, nil, false, 2, func(int) []int { return all }, nil},
		{"a worker for each processor", 0, all, true, len(all), func(i int) []int { return all[i%len(all) : i%len(all)+1] }, nil},
		{"more workers than processors", 3, []int{last}, false, 3, func(int) []int { return []int{last} }, nil},
		{"a processor that is not there", 1, []int{1023}, false, 1, nil, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			where, opened := make(chan threadAt, 2*maxWorkers), 0
			cfg := Config{Interfaces: []string{"rig0", "rig1"}, Workers: c.workers, CPUs: c.cpus, BusyPoll: c.busy, MaxConnections: minConnections}
			env := rigEnv()
			env.Route = func(netip.Addr) (Route, error) { return Route{Interface: "rig0"}, nil }
			cfg.Services = []Service{{VIP: crowdVIP.Addr(), Port: 80, Check: Check{Type: "none"}, Servers: []Server{{Address: crowdServer(1)}}}}
			env.OpenPorts = func(p PortConfig) ([]Port, error) {
				if p.BusyPoll != c.busy {
					t.Errorf("busy polling: %v, want %v", p.BusyPoll, c.busy)
				}
				list := make([]Port, p.Count)
				for i := range list {
					list[i] = &threadPort{worker: opened, where: where, ended: make(chan struct{})}
					if !p.SendOnly {
						opened++
					}
				}
				return list, nil
			}
			b, err := New(cfg, env)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			if c.err != nil {
				if err := <-ended; !errors.Is(err, c.err) {
					t.Errorf("ended with %v, want %v", err, c.err)
				}
				return
			}
			if got := b.Workers(); got != 2*c.wantInterface {
				t.Fatalf("%d workers, want %d", got, 2*c.wantInterface)
			}
			for range b.Workers() {
				select {
				case err := <-ended:
					t.Fatal(err)
				case at := <-where:
					if want := c.want(at.worker); !slices.Equal(at.cpus, want) {
						t.Errorf("worker %d may run on %v, want %v", at.worker, at.cpus, want)
					}
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
