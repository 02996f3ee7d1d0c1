package dataplane

import (
	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// Hooks are a program's functions that workers call, several at a time and OnConnection
// with a lock held: they must not block, call the data plane, or keep the flow or entry.
// A nil hook does nothing.
type Hooks struct {
	// Admit reports whether a new connection may begin; one that may not is dropped with
	// the reason NotAdmitted.
	Admit func(f *sched.Flow) bool
	// ClientKey is what stands for the client in persistence, in place of its address; the
	// service's mask is applied to it.
	ClientKey func(f *sched.Flow) forward.Addr
	// OnConnection is called at the begin and the end of one in SampleEvery connections,
	// chosen by a hash of addresses and ports.
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

// notifyConnection calls the hook for a connection, if that is one of the sample.
func (p *Plane) notifyConnection(kind ConnEventKind, c uint32, m meta) {
	if every := p.hooks.SampleEvery; every > 1 && p.table.cold[c].hash.Load()/shardCount%every != 0 {
		return
	}
	var e Entry
	p.readEntry(&e, c, m, p.tick())
	p.hooks.OnConnection(kind, &e)
}
