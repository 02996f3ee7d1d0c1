package sched

// cache remembers a value for each destination address, for lblc and lblcr, and
// forgets by time and number as ip_vs's garbage collection does, but piecemeal: a
// use drops at most the two longest unused entries, so there is no timer and no
// sweep. An entry is dropped when unused for longer than the expiration; while
// there are more than cacheFull, for longer than six minutes. ip_vs lets the table
// grow between its runs; here the entry longest unused gives way at cacheMax.
//
// It is not safe for concurrent use.
type cache[V any] struct {
	expiration int64 // seconds
	entries    map[[16]byte]*cacheEntry[V]
	used       cacheEntry[V]  // ring, latest use next
	free       *cacheEntry[V] // by next
}

type cacheEntry[V any] struct {
	prev, next *cacheEntry[V]
	addr       [16]byte
	lastUse    int64
	value      V
}

const (
	cacheFull   = 16384
	cacheMax    = 4 * cacheFull
	cacheHurry  = 360   // seconds, entries that stay while there are more than cacheFull
	cacheExpire = 86400 // seconds, lblc_expiration and lblcr_expiration
)

func newCache[V any](expiration int64) *cache[V] {
	if expiration == 0 {
		expiration = cacheExpire
	}
	c := &cache[V]{expiration: expiration, entries: map[[16]byte]*cacheEntry[V]{}}
	c.used.prev, c.used.next = &c.used, &c.used
	return c
}

// get returns the value for addr, to be read and changed until the next call, or
// nil, and counts as a use.
func (c *cache[V]) get(addr *[16]byte, now int64) *V {
	c.tidy(now)
	e := c.entries[*addr]
	if e == nil {
		return nil
	}
	if now-e.lastUse > c.expiration {
		c.drop(e)
		return nil
	}
	e.unlink()
	c.push(e, now)
	return &e.value
}

// put makes an entry for addr, which must have none, and returns its zero value
// to be filled in.
func (c *cache[V]) put(addr *[16]byte, now int64) *V {
	if len(c.entries) >= cacheMax {
		c.drop(c.used.prev)
	}
	e := c.free
	if e == nil {
		e = new(cacheEntry[V])
	} else {
		c.free = e.next
	}
	e.addr = *addr
	c.entries[*addr] = e
	c.push(e, now)
	return &e.value
}

// values calls see with each value, to be read and changed.
func (c *cache[V]) values(see func(*V)) {
	for e := c.used.next; e != &c.used; e = e.next {
		see(&e.value)
	}
}

// adopt puts s in the place of *known if that is the same server, which was gone and
// whose owner has made it anew: ip_vs keeps a server that a cache refers to.
func adopt(known **Server, s *Server) {
	if k := *known; k.Gone.Load() && k.Addr == s.Addr && k.Port == s.Port {
		*known = s
	}
}

func (c *cache[V]) tidy(now int64) {
	for range 2 {
		e := c.used.prev
		limit := c.expiration
		if len(c.entries) > cacheFull {
			limit = min(limit, cacheHurry)
		}
		if e == &c.used || now-e.lastUse <= limit {
			return
		}
		c.drop(e)
	}
}

func (c *cache[V]) drop(e *cacheEntry[V]) {
	e.unlink()
	delete(c.entries, e.addr)
	*e = cacheEntry[V]{next: c.free}
	c.free = e
}

func (c *cache[V]) push(e *cacheEntry[V], now int64) {
	e.lastUse = now
	e.prev, e.next = &c.used, c.used.next
	e.next.prev, c.used.next = e, e
}

func (e *cacheEntry[V]) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}
