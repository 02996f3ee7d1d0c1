// Package demo shows golb at work: it builds a network of real kernel stacks in this
// process, balances real HTTP traffic over three servers, kills one and brings it
// back, and measures all of it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Config says what to show.
type Config struct {
	Mode     string       // one of Modes
	IPv6     bool         // else IPv4
	Fault    string       // one of Faults
	Requests int          // of the load, at least 1
	Size     int64        // bytes of the large upload, and of the download
	Progress io.Writer    // gets a line for each thing that happens
	Logger   *slog.Logger // golb's own; nil discards it
}

// Validate returns an error where the demo cannot run with the config.
func (c *Config) Validate() error {
	m, err := modeOf(c.Mode)
	if err != nil {
		return err
	}
	if _, err := faultOf(c.Fault, m); err != nil {
		return err
	}
	if c.Requests < 1 {
		return fmt.Errorf("requests: %d: allowed: 1 and more", c.Requests)
	}
	if c.Size < 1 {
		return fmt.Errorf("size: %d: allowed: 1 byte and more", c.Size)
	}
	return nil
}

// Demo is a running lab with golb in it.
type Demo struct {
	cfg      Config
	mode     mode
	fault    fault
	start    time.Time
	site     *site
	balancer *running
}

// Start builds the lab, and returns when golb forwards. Close the Demo, whatever
// happened, to leave nothing behind.
func Start(ctx context.Context, cfg Config) (*Demo, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	m, err := modeOf(cfg.Mode)
	if err != nil {
		return nil, err
	}
	d := &Demo{cfg: cfg, mode: m, start: time.Now()}
	if d.fault, err = faultOf(cfg.Fault, m); err != nil {
		return nil, err
	}
	l := newLayout(cfg.IPv6, m.inside)
	d.introduce(l)
	if d.site, err = newSite(ctx, l, m); err != nil {
		return nil, err
	}
	d.logf("built the lab: six kernel network stacks, a web server on each of %d of them", len(l.servers))
	if d.balancer, err = d.site.startGolb(ctx, m, d.fault, cfg.Logger); err != nil {
		return nil, errors.Join(err, d.site.close())
	}
	d.logf("golb forwards: %s to its %d servers by weighted round robin", d.site.url("/"), len(l.servers))
	return d, nil
}

// Close ends golb and takes the lab down.
func (d *Demo) Close() error { return errors.Join(d.balancer.stop(), d.site.close()) }

// introduce prints what is going to be built, as one would build it by hand.
func (d *Demo) introduce(l layout) {
	w := d.cfg.Progress
	fmt.Fprintf(w, "golb demo: %s\n\n", d.mode.title)
	for _, line := range d.mode.about {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintf(w, "\n%s\nThe VIP %s is configured on no interface of golb's host; golb answers for it.\n", l, l.vip)
	fmt.Fprintf(w, "Each server was set up with\n")
	for _, c := range d.mode.commands(l, l.servers[0]) {
		fmt.Fprintf(w, "  %-45s # %s\n", c.text, c.why)
	}
	fmt.Fprintln(w)
}

// logf prints a line of progress with the time since the start.
func (d *Demo) logf(format string, args ...any) {
	fmt.Fprintf(d.cfg.Progress, "%5.1f s  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// Drive sends the load, moves the large bodies, kills a server and brings it back.
// The error is that of driving; what went wrong with requests is in [Result.Err].
func (d *Demo) Drive(ctx context.Context) (*Result, error) {
	short, kept, err := d.load(ctx)
	if err != nil {
		return nil, err
	}
	r := newResult(d.cfg.Mode, d.site, short, kept)
	if err := d.transfers(ctx, r); err != nil {
		return nil, err
	}
	victim := d.site.servers[len(d.site.servers)-1]
	f, err := d.failover(ctx, victim)
	if err != nil {
		return nil, err
	}
	r.addFailover(f)
	r.drops = d.balancer.Stats().Drops
	return r, nil
}

// load is half of the requests on connections of their own, half on kept ones.
func (d *Demo) load(ctx context.Context) (short, kept []answer, err error) {
	d.logf("%d HTTP requests, half of them on a connection each, half on %d kept-alive ones",
		d.cfg.Requests, d.site.weights())
	var done atomic.Int64
	counting, stop := context.WithCancel(ctx)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for sleep(counting, time.Second) == nil {
			d.logf("  %d of %d", done.Load(), d.cfg.Requests)
		}
	}()
	defer func() { stop(); <-counted }()
	n := d.cfg.Requests / 2
	if kept, err = d.site.load(ctx, n, true, &done); err != nil {
		return nil, nil, err
	}
	short, err = d.site.load(ctx, d.cfg.Requests-n, false, &done)
	return short, kept, err
}

// transfers moves the large bodies. A broken one counts as a failed request.
func (d *Demo) transfers(ctx context.Context, r *Result) error {
	d.logf("uploading and downloading %s", size(d.cfg.Size))
	before := d.balancer.forwardedBytes()
	up, down, err := d.site.transfers(ctx, d.cfg.Size)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.fail(err)
		return nil
	}
	r.addTransfers(up, down, d.balancer.forwardedBytes()-before)
	return nil
}
