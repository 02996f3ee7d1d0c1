package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/golb/golb/benchmarks/wire/internal/report"
)

// packets measures 64-byte packets from client to servers. The sender has the first processor for itself and the balancer's
// one worker the second, if there is one; what the kernel forwards itself, it forwards on the sender's.
func (b *bench) packets(ctx context.Context, r row, to *report.Row) error {
	if err := b.discard(ctx, r); err != nil {
		return err
	}
	set := setting{workers: 1, cpu: min(2, runtime.NumCPU()), profile: b.profileOf(r, metricPackets)}
	f, err := b.forwarding(ctx, r, set)
	if err != nil {
		return err
	}
	n := float64(f.received)
	to.Add(keyRate, n/f.elapsed.Seconds())
	to.Add(keyPacketCPU, float64(f.used.lab-time.Duration(f.sent)*b.frameCost)/n)
	if f.process {
		to.Add(keyPacketOwn, float64(f.used.balancer)/n)
	}
	return nil
}

// workers does so with two workers on any processor, beside the sender.
func (b *bench) workers(ctx context.Context, r row, to *report.Row) error {
	f, err := b.forwarding(ctx, r, setting{workers: 2, profile: b.profileOf(r, metricWorkers)})
	if err != nil {
		return err
	}
	n := float64(f.received)
	to.Add(keyWorkers, n/f.elapsed.Seconds())
	to.Add(keyWorkersOwn, float64(f.used.balancer)/n)
	return nil
}

// forwarding floods a balancer in a lab with two arms.
func (b *bench) forwarding(ctx context.Context, r row, set setting) (f flooded, err error) {
	s, err := newSite(2, r)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	balancer, err := s.start(ctx, r, set)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, balancer.stop()) }()
	if err := s.deafen(); err != nil {
		return f, err
	}
	if f, err = b.flood(ctx, s, balancer, true); err == nil && f.received == 0 {
		err = errors.New("nothing got through")
	}
	return f, err
}

// discard measures what sending costs alone: to a host that drops all frames at the door.
func (b *bench) discard(ctx context.Context, r row) (err error) {
	s, err := newSite(2, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	s.gateway[0] |= 0x40 // nobody's
	f, err := b.flood(ctx, s, &balancing{target: vip}, false)
	if err == nil && f.sent == 0 {
		err = errors.New("nothing was sent")
	}
	if err == nil {
		b.frameCost = f.used.lab / time.Duration(f.sent)
	}
	return err
}

// flooded is what a flood has come to.
type flooded struct {
	sent, received uint64 // frames by the client, and at the servers' door
	elapsed        time.Duration
	used           spent
	process        bool // the balancer has a process
}

func (a flooded) minus(b flooded) flooded {
	return flooded{a.sent - b.sent, a.received - b.received, a.elapsed - b.elapsed, a.used.minus(b.used), a.process}
}

// flood sends frames and looks before and after. If they are to arrive, it waits for the first.
func (b *bench) flood(ctx context.Context, s *site, balancer *balancing, arrive bool) (f flooded, err error) {
	sender, err := launchRole(ctx, s.client, order{
		Role: roleFrames, Interfaces: []string{"eth0"}, To: s.gateway, Source: clientAt, Target: balancer.target, Flows: b.Flows, CPU: 1,
	})
	if err != nil {
		return f, err
	}
	defer sender.end()
	if err := sleep(ctx, min(warmUp, b.Time)); err != nil {
		return f, err
	}
	m, err := newMeter(balancer.process)
	if err != nil {
		return f, err
	}
	start := time.Now()
	readCounters := func() (f flooded, err error) {
		f.elapsed, f.process = time.Since(start), balancer.process != nil
		if f.used, err = m.read(); err != nil {
			return f, err
		}
		if _, f.sent, err = frames(s.client, "eth0"); err != nil {
			return f, err
		}
		f.received, _, err = frames(s.server, "eth0")
		return f, err
	}
	before, err := readCounters()
	if err != nil {
		return f, err
	}
	for { // once, but where a busy machine has let nobody run
		if err := sleep(ctx, b.Time); err != nil {
			return f, err
		}
		now, err := readCounters()
		if f = now.minus(before); err != nil {
			return f, err
		}
		if f.received > 0 || !arrive && f.sent > 0 || now.elapsed > patience {
			b.count(f.used, f.elapsed)
			return f, nil
		}
	}
}
