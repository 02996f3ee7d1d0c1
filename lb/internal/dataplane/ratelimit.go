package dataplane

import (
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// tokenBucket is a token bucket in one word, of a second's worth: the tick of its last
// use, and tokens of which a connection costs TicksPerSecond, so that a rate of n a
// second is n tokens a tick.
type tokenBucket struct{ word atomic.Uint64 }

// take draws one, if the rate, in connections a second, allows it.
func (b *tokenBucket) take(rate uint32, now Tick) bool {
	full := uint64(rate) * TicksPerSecond
	for {
		old := b.word.Load()
		tokens := old & 0xffffffff
		if last := Tick(old >> 32); last == 0 {
			tokens = full
		} else if last.before(now) {
			tokens = min(full, tokens+uint64(now-last)*uint64(rate))
		}
		if tokens < TicksPerSecond {
			return false
		}
		if b.word.CompareAndSwap(old, uint64(now)<<32|(tokens-TicksPerSecond)) {
			return true
		}
	}
}

// clientBuckets are those of clients, by a hash of their prefix. Clients that share
// one share its rate: with as many buckets as there are that is rare, and memory
// stays bounded.
type clientBuckets [1 << 14]tokenBucket

// clientPrefix is how much of an IPv6 address is one client's; of IPv4 all is.
const clientPrefix = 64

func (b *clientBuckets) take(client forward.Addr, secret *hashKey, rate uint32, now Tick) bool {
	if !client.Is4() {
		client = mask(client, clientPrefix)
	}
	t := tuple{src: client}
	key := t.key()
	return b[key.hash(secret)%uint64(len(b))].take(rate, now)
}

// limits are the connection rates of a service; nil where it has none.
type limits struct {
	service tokenBucket
	clients clientBuckets
}

// exceedsRate reports whether a new connection would be one too many.
func (w *Worker) exceedsRate(x *rxPacket, v *Service, set *serviceSettings) bool {
	if set.rate == 0 && set.clientRate == 0 {
		return false
	}
	l := v.limits.Load()
	return set.clientRate != 0 && !l.clients.take(x.packet.Src, &w.plane.table.secret, set.clientRate, w.now) ||
		set.rate != 0 && !l.service.take(set.rate, w.now)
}
