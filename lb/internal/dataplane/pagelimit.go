package dataplane

import (
	"math"
	"sync/atomic"
)

// A request to the page is 60 bytes long and draws ten segments, so who repeats it, from
// an address where the cookie arrived, could have golb send many times what it gets. So a
// connection is sent the page no more often than a client's timer repeats a request, and
// a client gets no more than its share of what all may get.

const (
	// pageAgain is the least time between two sendings on one connection, in ticks: less
	// than the least retransmission timeout of hosts, 200 ms.
	pageAgain = 3
	// answer_rate/pageShare is how often a second one client gets a page.
	pageShare = 8
)

// pageLimits are those of a service with a page, for all workers.
type pageLimits struct {
	clients clientBuckets
	// sent has for connections that were sent the page a part of the hash above the tick;
	// a newer one takes the place of another.
	sent [1 << 14]atomic.Uint64
}

// take reports whether the page may be sent on the connection of x.
func (l *pageLimits) take(x *rxPacket, secret *hashKey, now Tick) bool {
	slot := &l.sent[x.hash%uint64(len(l.sent))]
	tag, last := x.hash>>32, slot.Load()
	if last>>32 == tag && now-Tick(last) < pageAgain {
		return false
	}
	slot.Store(tag<<32 | uint64(now))
	const most = math.MaxUint32 / TicksPerSecond // that a bucket holds
	share := uint32(min(max(x.snap.settings.AnswerRate/pageShare, 1), most))
	return l.clients.take(x.packet.Src, secret, share, now)
}
