package dataplane

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// Hop is a neighbor on one of the ports: the router, or the host itself, that packets
// come from or go to.
type Hop struct {
	MAC  forward.MAC
	Port int // index
}

// hopTable numbers the hops that clients' packets come from, so that a connection
// remembers its own in 16 bits; NAT's replies go back there. There are few: routers, and
// the clients on the link. Numbers are never freed; hops beyond maxHops get 0, which is
// none.
type hopTable struct {
	list atomic.Pointer[[]Hop] // by number; replaced, never changed

	mu    sync.Mutex
	byHop map[Hop]uint16
}

const maxHops = 1<<16 - 1

// number returns the number of h. It allocates for a new one only.
func (x *hopTable) number(h Hop) uint16 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n, ok := x.byHop[h]; ok {
		return n
	}
	if x.byHop == nil {
		x.byHop = map[Hop]uint16{}
		x.list.Store(&[]Hop{{}})
	}
	old := *x.list.Load()
	if len(old) > maxHops {
		return 0
	}
	// Appending writes behind what readers of the old list can see.
	list := append(old, h)
	x.list.Store(&list)
	x.byHop[h] = uint16(len(old))
	return uint16(len(old))
}

// get returns hop n, nil for 0. It must not be changed.
func (x *hopTable) get(n uint16) *Hop {
	if n == 0 {
		return nil
	}
	return &(*x.list.Load())[n]
}

// hopCache is one worker's cache of the hopTable, so that most packets need no lock.
type hopCache [hopSlots]struct {
	hop    uint64 // MAC above port
	number uint16
}

const hopSlots = 256

// number returns the number of the hop that f, received from a port, came from.
func (c *hopCache) number(x *hopTable, f *forward.Frame, port int) uint16 {
	from := f.Bytes()[6:12]
	key := uint64(binary.BigEndian.Uint32(from))<<32 | uint64(binary.BigEndian.Uint16(from[4:]))<<16 | uint64(uint16(port))
	e := &c[uint(from[5]^from[4]<<3)%hopSlots]
	if e.number == 0 || e.hop != key {
		e.hop, e.number = key, x.number(Hop{forward.SrcMAC(f), port})
	}
	return e.number
}
