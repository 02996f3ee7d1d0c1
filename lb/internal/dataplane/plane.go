package dataplane

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// Plane is the data plane of one balancer: the state that its workers share. Its methods may be
// called at any time from any goroutine, but for those that change services and
// servers (AddServer, DropServer, NewService, Publish and the methods of Service and
// Server): these go one at a time.
type Plane struct {
	snap    atomic.Pointer[Snapshot]
	ifaces  atomic.Pointer[[]Interface]
	table   *table
	servers serverTable
	now     func() time.Time
	start   time.Time
	rand    func() uint64
	hooks   Hooks
	pageKey cookieKey

	rendezvousKey rendezvousKey

	mtuLearned atomic.Uint32 // tick of the first path MTU learned since all were forgotten, 0 none
	fullAt     atomic.Uint32 // tick at which a connection last began, or was ended, that packets still come of, 0 never
	shortAt    atomic.Uint32 // tick at which a new connection last found the table full, 0 never

	_ line // the fields below have locks

	expiry        expiry
	serversGone   atomic.Bool // a server left its service since the last expiry
	accessChanged atomic.Bool // a service allows other clients since the last expiry
	frags         fragments
	hops          hopTable
	ftp           ftp
	probes        probes
	closedNAT     resetTable
	nextHops      NextHops
	workers       atomic.Pointer[[]*Worker]
	stopped       atomic.Bool
	_             line

	// Used by the control plane alone.
	workerCount int
	interner    interner
	dropped     []*Server // connections may still refer to them
	marks       uint32    // given to services
	cut         cutList
}

// Config says what a Plane is made of.
type Config struct {
	Connections int // the size of the table, templates included; 4 or more
	Buckets     int // of its index, 128 bytes each; 0 means one for two connections
	Workers     int // how many AddWorker will make
	Now         func() time.Time
	Rand        func() uint64 // random bits; called from several goroutines at once
	NextHops    NextHops
	Hooks       Hooks
}

// NextHops finds the next hop to addresses other than servers': clients, where replies do
// not go back to the MAC that the request came from, and the peers of connections that
// servers of method NAT open.
type NextHops interface {
	// NextHop returns the next hop to dst, nil where there is none or its MAC is not
	// known, and the host's own address towards dst, zero where there is none. Workers
	// call it; it must not block for long. The hop must not be changed.
	NextHop(dst forward.Addr) (hop *Hop, source forward.Addr)
}

// New makes a data plane without services or workers.
func New(c Config) *Plane {
	p := &Plane{now: c.Now, start: c.Now(), rand: c.Rand, nextHops: c.NextHops, hooks: c.Hooks, workerCount: c.Workers, interner: newInterner()}
	p.workers.Store(new([]*Worker))
	p.SetInterfaces(nil)
	p.servers.start()
	p.frags.start(c.Rand())
	p.pageKey = cookieKey{c.Rand(), c.Rand()}
	p.rendezvousKey = rendezvousKey{c.Rand(), c.Rand()}
	p.table = newTable(c.Connections, c.Buckets, newHashKey(c.Rand), p.tick())
	return p
}

// tick reads the clock. Ticks start at 1: 0 stands for never.
func (p *Plane) tick() Tick { return Ticks(p.now().Sub(p.start)) + 1 }

// InUse is how many connections and templates there are.
func (p *Plane) InUse() int { return int(p.table.inUse()) }

// Size is how many connections and templates there is room for.
func (p *Plane) Size() int { return len(p.table.conns) - 1 }

// Drops are the frames not forwarded, by reason.
type Drops [NumReasons]uint64

// Drops sums the drops of all workers.
func (p *Plane) Drops() (d Drops) {
	for _, w := range *p.workers.Load() {
		for r, n := range w.Drops() {
			d[r] += n
		}
	}
	return d
}

// Drops are the worker's own.
func (w *Worker) Drops() (d Drops) {
	for r := range d {
		d[r] = w.drops[r].Load()
	}
	return d
}

// PathMTUsExpired reports, once, that learned path MTUs have expired: the caller must give
// all servers the MTU of their route again.
func (p *Plane) PathMTUsExpired() bool {
	at := p.mtuLearned.Load()
	if at == 0 || p.tick().before(Tick(at)+pathMTUTimeout) {
		return false
	}
	p.mtuLearned.Store(0)
	return true
}

// ErrNotRunning is returned where no worker runs.
var ErrNotRunning = errors.New("golb does not run")
