package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/golb/golb/lb"
)

const (
	// streamEvery is the time between two requests while a server is killed: 200 a second.
	streamEvery = 5 * time.Millisecond
	// phaseTime is how long traffic is watched before the kill, after it was noticed,
	// and after the server is back.
	phaseTime = time.Second
)

// moments are the turning points of a failover.
type moments struct {
	start, killed, down, mended, up, end time.Time
}

// failover has a server fail, by default by its cable: no FIN, no RST, no ARP, as a host that
// loses power. Then it brings the server back. Requests are sent at a steady rate meanwhile.
func (d *Demo) failover(ctx context.Context, victim *webServer) (*Failover, error) {
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	type result struct {
		answers []answer
		err     error
	}
	streamed := make(chan result, 1)
	go func() {
		a, err := d.site.stream(streaming, streamEvery)
		streamed <- result{a, err}
	}()
	at, err := d.killAndMend(ctx, victim)
	stop()
	r := <-streamed
	if err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	at.end = time.Now()
	f := newFailover(d.site.layout, victim.name, at, r.answers)
	f.Fault, f.fault = d.fault.name, d.fault
	return f, nil
}

func (d *Demo) killAndMend(ctx context.Context, victim *webServer) (at moments, err error) {
	at.start = time.Now()
	if err := sleep(ctx, phaseTime); err != nil {
		return at, err
	}
	at.killed = time.Now()
	if err := d.fault.does(ctx, d.site, victim); err != nil {
		return at, err
	}
	d.logf(d.fault.told, victim.name)
	e, err := d.balancer.await(ctx, eventWait, lb.EventServerDown, victim.name)
	if err != nil {
		return at, err
	}
	at.down = e.Time
	d.logf("golb noticed after %s (%s); new connections go to the others", ms(at.down.Sub(at.killed)), e.Reason)
	if err := sleep(ctx, phaseTime); err != nil {
		return at, err
	}
	at.mended = time.Now()
	if err := d.fault.undoes(ctx, d.site, victim); err != nil {
		return at, err
	}
	if e, err = d.balancer.await(ctx, eventWait, lb.EventServerUp, victim.name); err != nil {
		return at, err
	}
	at.up = e.Time
	d.logf("%s; golb noticed after %s", d.fault.mended, ms(at.up.Sub(at.mended)))
	return at, sleep(ctx, phaseTime)
}

// newFailover sorts answers into phases by the time at which the request began. Only requests
// that were under way between the kill and its detection may fail.
func newFailover(l layout, victim string, at moments, answers []answer) *Failover {
	f := &Failover{
		Killed:     victim,
		DetectedMS: at.down.Sub(at.killed).Milliseconds(),
		ReturnedMS: at.up.Sub(at.mended).Milliseconds(),
		Phases: []Phase{
			newPhase(l, "all up", at.killed.Sub(at.start)),
			newPhase(l, victim+" dead, not noticed yet", at.down.Sub(at.killed)),
			newPhase(l, victim+" out of service", at.up.Sub(at.down)),
			newPhase(l, victim+" back", at.end.Sub(at.up)),
		},
	}
	turns := []time.Time{at.killed, at.down, at.up}
	for _, a := range answers {
		p := 0
		for p < len(turns) && !a.start.Before(turns[p]) {
			p++
		}
		if p == 2 && a.server == victim && a.end.After(at.mended) {
			p = 3 // begun out of service, connected a moment later when it was back
		}
		switch {
		case a.err == nil:
			f.Phases[p].Requests[a.server]++
			f.Phases[p].Slowest = max(f.Phases[p].Slowest, a.end.Sub(a.start).Milliseconds())
		case a.start.Before(at.down) && a.end.After(at.killed):
			f.Phases[p].Failed++
			f.FailedRequests++
		default:
			f.Phases[p].Failed++
			f.wrong = append(f.wrong, fmt.Errorf("%s: %w", f.Phases[p].Name, a.err))
		}
	}
	if n := f.Phases[2].Requests[victim]; n > 0 {
		f.wrong = append(f.wrong, fmt.Errorf("%d requests answered by %s while it was out of service", n, victim))
	}
	f.wrong = append(f.wrong, idle(l, victim, f.Phases)...)
	return f
}

// idle finds the servers that got nothing in a phase in which they should have.
func idle(l layout, victim string, phases []Phase) (wrong []error) {
	for i, p := range phases {
		answered := 0
		for _, n := range p.Requests {
			answered += n
		}
		if answered < 3*l.weights() {
			continue // less than three rounds of the scheduler prove nothing
		}
		for _, s := range l.servers {
			dead := s.name == victim && (i == 1 || i == 2)
			if !dead && p.Requests[s.name] == 0 {
				wrong = append(wrong, fmt.Errorf("%s: none of %d requests reached %s", p.Name, answered, s.name))
			}
		}
	}
	return wrong
}

func newPhase(l layout, name string, d time.Duration) Phase {
	p := Phase{Name: name, MS: d.Milliseconds(), For: d, Requests: map[string]int{}}
	for _, s := range l.servers {
		p.Requests[s.name] = 0
	}
	return p
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
