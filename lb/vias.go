package lb

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// via is where packets come from: the MAC of the last router, or of the client
// itself, and the port. NAT's replies go back there.
type via struct {
	mac  forward.MAC
	port int
}

// vias numbers them, so that a connection remembers its via in 16 bits. There are
// few: routers, and the clients on the link. They are never forgotten; those
// beyond the last number get 0, which is none.
type vias struct {
	list atomic.Pointer[[]via] // by number; replaced, never changed

	mu      sync.Mutex
	numbers map[via]uint16
}

const maxVias = 1<<16 - 1

// number returns the number of v. It allocates for a new one only.
func (x *vias) number(v via) uint16 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n, ok := x.numbers[v]; ok {
		return n
	}
	if x.numbers == nil {
		x.numbers = map[via]uint16{}
		x.list.Store(&[]via{{}})
	}
	old := *x.list.Load()
	if len(old) > maxVias {
		return 0
	}
	// Appending writes behind what readers of the old list can see.
	list := append(old, v)
	x.list.Store(&list)
	x.numbers[v] = uint16(len(old))
	return uint16(len(old))
}

// get returns via n, nil for 0. It must not be changed.
func (x *vias) get(n uint16) *via {
	if n == 0 {
		return nil
	}
	return &(*x.list.Load())[n]
}

// viaCache is one worker's memory of the numbers it saw last: of most packets the
// number is known without a lock.
type viaCache [viaSlots]struct {
	via    uint64 // MAC above port
	number uint16
}

const viaSlots = 256

// number returns the number of where f, received from a port, came from.
func (c *viaCache) number(x *vias, f *forward.Frame, port int) uint16 {
	from := f.Bytes()[6:12]
	key := uint64(binary.BigEndian.Uint32(from))<<32 | uint64(binary.BigEndian.Uint16(from[4:]))<<16 | uint64(uint16(port))
	e := &c[uint(from[5]^from[4]<<3)%viaSlots]
	if e.number == 0 || e.via != key {
		e.via, e.number = key, x.number(via{forward.SrcMAC(f), port})
	}
	return e.number
}
