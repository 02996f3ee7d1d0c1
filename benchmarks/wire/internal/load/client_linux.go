package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClientConfig says what a client does.
type ClientConfig struct {
	Target  netip.AddrPort
	Mode    Mode
	Conns   int // at a time, of all threads
	Threads int // each has as many connections as the next
}

// Client loads a server. Make one with NewClient; one other goroutine than Run's may call Begin and End.
type Client struct {
	cfg   ClientConfig
	loops []*asking

	measuring    atomic.Bool
	done, failed atomic.Uint64
	begun        time.Time
	doneBefore   uint64
	failedBefore uint64
}

// NewClient returns a client that does nothing yet.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg: cfg} }

// Run loads the server until ctx ends. It fails where not one connection can be made at first.
func (c *Client) Run(ctx context.Context) error {
	if c.cfg.Mode == Download || c.cfg.Mode == Upload {
		return c.runBulk(ctx)
	}
	threads := min(c.cfg.Threads, c.cfg.Conns)
	for i := range threads {
		l := &asking{client: c, target: sockaddr(c.cfg.Target), conns: (c.cfg.Conns + i) / threads, oneMessage: c.cfg.Mode == Connect}
		c.loops = append(c.loops, l)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range c.loops {
		g.Go(func() error { return l.run(ctx) })
	}
	return g.Wait()
}

// Done is how many requests, connections or bytes there were yet.
func (c *Client) Done() uint64 { return c.done.Load() }

// Begin starts measuring.
func (c *Client) Begin() {
	c.begun, c.doneBefore, c.failedBefore = time.Now(), c.done.Load(), c.failed.Load()
	c.measuring.Store(true)
}

// Idle reports whether there was nothing since Begin.
func (c *Client) Idle() bool { return c.done.Load() == c.doneBefore }

// End stops measuring. The result has no latencies yet: Times adds them once Run has returned.
func (c *Client) StopMeasuring() Result {
	c.measuring.Store(false)
	return Result{Elapsed: time.Since(c.begun), Done: c.done.Load() - c.doneBefore, Failed: c.failed.Load() - c.failedBefore}
}

// Times adds the latencies to a result. Run must have returned.
func (c *Client) Times(r Result) Result {
	var all []time.Duration
	for _, l := range c.loops {
		all = append(all, l.times...)
	}
	if len(all) == 0 {
		return r
	}
	slices.Sort(all)
	r.P50, r.P99 = all[len(all)/2], all[len(all)*99/100]
	return r
}

func (c *Client) runBulk(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range c.cfg.Conns {
		g.Go(func() error { return c.bulk(ctx) })
	}
	return g.Wait()
}

func (c *Client) bulk(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", c.cfg.Target.String())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	move(conn, c.cfg.Mode == Upload, func(n int) { c.done.Add(uint64(n)) })
	if ctx.Err() == nil {
		return errors.New("a bulk connection ended early")
	}
	return nil
}
