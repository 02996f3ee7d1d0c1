package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golb/golb/lb"
)

// The check is quicker than golb's default of five seconds, so that the demo is over
// soon, and patient enough for a machine that is busy with other things.
var check = lb.Check{Type: "tcp", Interval: 200 * time.Millisecond, Timeout: time.Second, Fall: 3, Rise: 1}

// startWait is how long golb may take to start, eventWait how long to notice that a
// server is gone or back.
const (
	startWait = 20 * time.Second
	eventWait = 20 * time.Second
)

// running is a running golb on its host of the lab.
type running struct {
	*lb.Balancer
	events chan lb.Event
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	err    error         // of Run; read once done is closed
}

// config returns golb's config.
func (s *site) config(m mode, f fault) lb.Config {
	svc := lb.Service{
		Name: "web", VIP: s.vip, Port: httpPort, Scheduler: scheduler,
		Method: m.method, Tunnel: m.tunnel, Check: check,
	}
	if f.needsVIP {
		svc.Check.Through = "vip"
	}
	for _, p := range s.layout.servers {
		svc.Servers = append(svc.Servers, lb.Server{Name: p.name, Address: p.addr.Addr(), Weight: &p.weight})
	}
	interfaces := []string{ifname}
	if s.gateway.IsValid() {
		interfaces = append(interfaces, insideName)
	}
	return lb.Config{Interfaces: interfaces, MaxConnections: maxConnections, Services: []lb.Service{svc}}
}

const (
	scheduler      = "wrr"
	maxConnections = 1 << 18
)

// startGolb starts golb on its host and returns when it forwards.
func (s *site) startGolb(ctx context.Context, m mode, f fault, log *slog.Logger) (*running, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{events: make(chan lb.Event, 256), cancel: cancel, done: make(chan struct{})}
	env := lb.Env{
		Logger: log,
		Dial:   s.golb.DialContext,
		OnEvent: func(e lb.Event) {
			select {
			case r.events <- e:
			case <-ctx.Done():
			}
		},
	}
	var err error
	if r.Balancer, err = lb.New(s.config(m, f), env); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(r.done)
		r.err = s.golb.Do(func() error { return r.Run(ctx) })
	}()
	if _, err := r.await(ctx, startWait, lb.EventReady, ""); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// await returns the next event of a kind and server.
func (r *running) await(ctx context.Context, patience time.Duration, kind lb.EventKind, server string) (lb.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case e := <-r.events:
			if e.Kind == kind && e.Server == server {
				return e, nil
			}
		case <-r.done:
			return lb.Event{}, fmt.Errorf("demo: golb ended: %w", r.err)
		case <-ctx.Done():
			return lb.Event{}, fmt.Errorf("demo: no event %s %s from golb in %s: %w", kind, server, patience, ctx.Err())
		}
	}
}

// stop ends golb and returns when it has closed everything.
func (r *running) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

// forwardedBytes returns the number of bytes that golb forwarded to and from servers, all
// headers included.
func (r *running) forwardedBytes() uint64 {
	var n uint64
	for _, svc := range r.Stats().Services {
		for _, s := range svc.Servers {
			n += s.InBytes + s.OutBytes
		}
	}
	return n
}
