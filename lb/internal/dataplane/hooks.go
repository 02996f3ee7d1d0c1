package dataplane

import (
	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// Hooks let a program take part in what workers do. Workers call them, several at a time,
// OnConnection with a lock held: they must not block, not call the data plane, and not
// keep the flow. nil does nothing.
type Hooks struct {
	// Admit reports whether a new connection may begin; one that may not is dropped with
	// the reason NotAdmitted.
	Admit func(f *sched.Flow) bool
	// ClientKey is what stands for the client in persistence, in place of its address; the
	// service's mask is applied to it.
	ClientKey func(f *sched.Flow) forward.Addr
	// OnConnection is told of the begin and the end of one of SampleEvery connections, chosen
	// by a hash of its addresses and ports.
	OnConnection func(kind ConnEventKind, e *Entry)
	SampleEvery  uint32 // 0 and 1 mean all
}

// ConnEventKind says what a connection event is about.
type ConnEventKind uint8

// The kinds of connection events.
const (
	ConnBegan ConnEventKind = iota
	ConnEnded
)

// tellConnection tells the hook of a connection, if that is one of the sample.
func (p *Plane) tellConnection(kind ConnEventKind, c uint32, m meta) {
	if every := p.hooks.SampleEvery; every > 1 && p.table.cold[c].hash.Load()/shardCount%every != 0 {
		return
	}
	var e Entry
	p.readEntry(&e, c, m, p.tick())
	p.hooks.OnConnection(kind, &e)
}
