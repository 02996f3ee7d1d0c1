package sched

// cache holds a value for each destination address, for lblc and lblcr
// (ip_vs_lblc_table). An entry that has not been used for longer than the expiration
// is dropped; while there are more than cacheFull, one that has not been used for six
// minutes. ip_vs does so from a timer; here each use drops at most the two entries
// that were used least recently, so there is no timer and no pause. ip_vs's table may
// grow between two runs of its timer; here a new entry takes the place of the least
// recently used one at cacheMax.
//
// It is not safe for concurrent use.
type cache[V any] struct {
	expiration int64 // seconds
	entries    map[[16]byte]*cacheEntry[V]
	used       cacheEntry[V]  // ring, most recently used next
	free       *cacheEntry[V] // linked by next
}

type cacheEntry[V any] struct {
	prev, next *cacheEntry[V]
	addr       [16]byte
	lastUse    int64
	value      V
}

const (
	cacheFull       = 16384
	cacheMax        = 4 * cacheFull
	cacheFullExpire = 360   // seconds, where there are more than cacheFull
	cacheExpire     = 86400 // seconds, the default of lblc_expiration and lblcr_expiration
)

func newCache[V any](expiration int64) *cache[V] {
	if expiration == 0 {
		expiration = cacheExpire
	}
	c := &cache[V]{expiration: expiration, entries: map[[16]byte]*cacheEntry[V]{}}
	c.used.prev, c.used.next = &c.used, &c.used
	return c
}

// get returns the value for addr, or nil, and counts as a use. The caller may read
// and change the value until the next call.
func (c *cache[V]) get(addr *[16]byte, now int64) *V {
	c.dropExpired(now)
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

// put makes an entry for addr, which must have none, and returns its zero value for
// the caller to set.
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

// each calls f with each value, which f may change.
func (c *cache[V]) each(f func(*V)) {
	for e := c.used.next; e != &c.used; e = e.next {
		f(&e.value)
	}
}

// dropExpired drops at most two entries.
func (c *cache[V]) dropExpired(now int64) {
	for range 2 {
		e := c.used.prev
		limit := c.expiration
		if len(c.entries) > cacheFull {
			limit = min(limit, cacheFullExpire)
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
