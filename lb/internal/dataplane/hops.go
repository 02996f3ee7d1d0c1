package dataplane

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// Hop is a neighbor on one of the ports: the router, or the host itself, that packets
// come from or go to.
type Hop struct {
	MAC  forward.MAC
	Port int // index
}

// learnedHop is a hop that clients' packets come from. NAT's replies go back there, which
// is right also where the host's routes lead elsewhere. A router that has died does not
// say so: one that takes packets and sends none counts as dead, and replies then follow
// the host's route, if there is one.
type learnedHop struct {
	Hop
	number  uint16
	retired atomic.Bool   // it gets no new connections
	heard   atomic.Uint32 // tick of the last packet from it; it may be hopHeard late
	used    atomic.Uint32 // tick of the first packet to it since, where that is later
}

const (
	hopHeard   = TicksPerSecond / 4
	hopSilence = TicksPerSecond // from the first packet to it that is not followed by one from it
)

// hear notes that a packet came from the hop. Most packets find that noted.
func (h *learnedHop) hear(now Tick) {
	if now-Tick(h.heard.Load()) >= hopHeard {
		h.heard.Store(uint32(now))
	}
}

// alive reports whether a packet may go to the hop, and notes that one does.
func (h *learnedHop) alive(now Tick) bool {
	heard, used := Tick(h.heard.Load()), Tick(h.used.Load())
	switch {
	case now-heard <= hopSilence:
		return true
	case !heard.before(used):
		h.used.Store(uint32(now))
		return true
	}
	return now-used <= hopSilence
}

// hopTable numbers the hops that clients' packets come from, so that a connection
// remembers its own in 16 bits. There are few: routers, and the clients on the link. Where
// there are many, as in an attack, numbers that no connection has are freed, see AgeHops;
// hops beyond maxHops get 0, which is none.
type hopTable struct {
	list atomic.Pointer[[maxHops + 1]atomic.Pointer[learnedHop]] // by number; made for the first hop

	mu        sync.Mutex
	byHop     map[Hop]*learnedHop
	free      []uint16
	retired   []*learnedHop
	next      int       // lowest number never used
	exhausted bool      // a hop got no number
	aged      time.Time // when AgeHops last did something
	pause     time.Duration
}

const (
	maxHops = 1<<16 - 1
	// fewHops are so many that it is not worth looking for those that are not needed.
	fewHops = maxHops / 4
)

// find returns the hop h, heard of now. It is nil where there are too many; a new one is
// allocated.
func (x *hopTable) find(h Hop, now Tick) *learnedHop {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.byHop[h]; l != nil {
		l.hear(now)
		return l
	}
	if x.byHop == nil {
		x.byHop, x.next = map[Hop]*learnedHop{}, 1
		x.list.Store(new([maxHops + 1]atomic.Pointer[learnedHop]))
	}
	l := &learnedHop{Hop: h}
	switch {
	case len(x.free) > 0:
		l.number = x.free[len(x.free)-1]
		x.free = x.free[:len(x.free)-1]
	case x.next <= maxHops:
		l.number = uint16(x.next)
		x.next++
	default:
		x.exhausted = true
		return nil
	}
	l.heard.Store(uint32(now))
	l.used.Store(uint32(now))
	x.list.Load()[l.number].Store(l)
	x.byHop[h] = l
	return l
}

// get returns hop n, nil for 0.
func (x *hopTable) get(n uint16) *learnedHop {
	if n == 0 {
		return nil
	}
	return x.list.Load()[n].Load()
}

// hopTo returns where packets to a client go: back to hop n, from which the client's come,
// while that is alive; else, and always where byRoute says so, by the host's route. It is
// nil where there is neither.
func (p *Plane) hopTo(n uint16, client forward.Addr, byRoute bool, now Tick) *Hop {
	learned := p.hops.get(n)
	if learned != nil && !byRoute && learned.alive(now) {
		return &learned.Hop
	}
	hop, _ := p.nextHops.NextHop(client)
	if hop == nil && learned != nil && !byRoute {
		return &learned.Hop
	}
	return hop
}

// AgeHops frees the numbers of hops that no connection has, where there are many. It is to
// be called now and then by one goroutine, and takes little of its time. A number is free
// only in the call after the one that retired it: until then, workers may still give it to
// a connection.
func (p *Plane) AgeHops() {
	x := &p.hops
	now := p.now()
	x.mu.Lock()
	due := (x.exhausted || len(x.byHop) > fewHops || len(x.retired) > 0) && now.Sub(x.aged) >= x.pause
	x.mu.Unlock()
	if !due {
		return
	}
	const least, share = time.Second, 20 // of the time
	start := time.Now()
	needed := p.hopsInUse()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.freeRetired(needed)
	x.retire(needed, p.tick())
	x.exhausted, x.aged, x.pause = false, now, max(least, share*time.Since(start))
}

// hopsInUse reports by number which hops connections have.
func (p *Plane) hopsInUse() *[maxHops + 1]bool {
	needed := new([maxHops + 1]bool)
	for c := uint32(1); c < p.table.used(); c++ {
		if e := &p.table.conns[c]; e.load().has(flagLive) {
			needed[timer(e.timer.Load()).hop()] = true
		}
	}
	return needed
}

// freeRetired frees the numbers of retired hops that are still not needed.
func (x *hopTable) freeRetired(needed *[maxHops + 1]bool) {
	kept := x.retired[:0]
	for _, l := range x.retired {
		if needed[l.number] {
			kept = append(kept, l)
		} else {
			x.free = append(x.free, l.number)
		}
	}
	clear(x.retired[len(kept):])
	x.retired = kept
}

// retire has the hops that are not needed get no more connections.
func (x *hopTable) retire(needed *[maxHops + 1]bool, now Tick) {
	for at, l := range x.byHop {
		if !needed[l.number] && now-Tick(l.heard.Load()) > hopSilence {
			l.retired.Store(true)
			delete(x.byHop, at)
			x.retired = append(x.retired, l)
		}
	}
}

// hopCache is one worker's cache of the hopTable, so that most packets need no lock.
type hopCache [hopSlots]struct {
	hop uint64 // MAC above port
	at  *learnedHop
}

const hopSlots = 256

// number returns the number of the hop that f, received from a port, came from.
func (c *hopCache) number(x *hopTable, f *forward.Frame, port int, now Tick) uint16 {
	from := f.Bytes()[6:12]
	key := uint64(binary.BigEndian.Uint32(from))<<32 | uint64(binary.BigEndian.Uint16(from[4:]))<<16 | uint64(uint16(port))
	e := &c[uint(from[5]^from[4]<<3)%hopSlots]
	if e.at == nil || e.hop != key || e.at.retired.Load() {
		e.hop, e.at = key, x.find(Hop{forward.SrcMAC(f), port}, now)
		if e.at == nil {
			return 0
		}
	}
	e.at.hear(now)
	return e.at.number
}
