package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/golb/golb/forward"
)

// access is which clients may come to a service. Of the prefixes that have a client's
// address the longest decides, of two equally long ones the denying; where none has it,
// clients may come if there is no list of those that may.
type access struct {
	allow, deny []netip.Prefix // what it was made from
	v4, v6      clientRanges
}

// clientRanges divides the addresses of an IP version into ranges, of which every second
// one may come. It is found by a binary search, so that 100,000 prefixes cost a new
// connection a tenth of a microsecond, and one that is there nothing.
type clientRanges struct {
	starts     []addrNumber // ascending; the first is 0
	firstMayIn bool
}

// addrNumber is an address as a number.
type addrNumber struct{ hi, lo uint64 }

// newAccess makes the access of the lists; nil where both are empty: all may come.
func newAccess(allow, deny []netip.Prefix) *access {
	if len(allow)+len(deny) == 0 {
		return nil
	}
	a := &access{allow: allow, deny: deny}
	a.v4 = newClientRanges(allow, deny, true)
	a.v6 = newClientRanges(allow, deny, false)
	return a
}

// madeFrom reports whether a was made from these lists.
func (a *access) madeFrom(allow, deny []netip.Prefix) bool {
	if a == nil {
		return len(allow)+len(deny) == 0
	}
	return slices.Equal(a.allow, allow) && slices.Equal(a.deny, deny)
}

// allows reports whether a client may come.
func (a *access) allows(client forward.Addr) bool {
	if a == nil {
		return true
	}
	if client.Is4() {
		return a.v4.has(numberOf(client, true))
	}
	return a.v6.has(numberOf(client, false))
}

// numberOf is an IPv6 address as a number, or an IPv4 address followed by zeros.
func numberOf(a forward.Addr, is4 bool) addrNumber {
	if is4 {
		return addrNumber{hi: uint64(binary.BigEndian.Uint32(a[12:])) << 32}
	}
	return addrNumber{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

func (n addrNumber) less(m addrNumber) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

// next is n+1, 0 after the last.
func (n addrNumber) next() addrNumber {
	n.lo++
	if n.lo == 0 {
		n.hi++
	}
	return n
}

// has reports whether the address n may come.
func (r *clientRanges) has(n addrNumber) bool {
	at, end := 0, len(r.starts) // the range is in [at, end)
	for end-at > 1 {
		if middle := int(uint(at+end) / 2); n.less(r.starts[middle]) {
			end = middle
		} else {
			at = middle
		}
	}
	return r.firstMayIn == (at%2 == 0)
}

// listed is a prefix of a list, as the range of its addresses.
type listed struct {
	first, last addrNumber
	bits        int
	mayIn       bool
}

// newClientRanges makes the ranges of one IP version from the lists.
func newClientRanges(allow, deny []netip.Prefix, is4 bool) clientRanges {
	list := append(listedOf(allow, true, is4), listedOf(deny, false, is4)...)
	slices.SortStableFunc(list, compareListed)
	b := rangesBuilder{otherwise: len(allow) == 0}
	b.begin(addrNumber{}, b.otherwise)
	for _, p := range list {
		b.endBefore(p.first)
		b.open = append(b.open, p)
		b.begin(p.first, p.mayIn)
	}
	b.endAll()
	return b.ranges()
}

// compareListed sorts by address, and those at one address from the shortest on.
func compareListed(a, b listed) int {
	switch {
	case a.first.less(b.first):
		return -1
	case b.first.less(a.first):
		return 1
	}
	return a.bits - b.bits
}

func listedOf(prefixes []netip.Prefix, mayIn, is4 bool) (list []listed) {
	for _, p := range prefixes {
		if p.Addr().Is4() != is4 {
			continue
		}
		host := p.Addr().BitLen() - p.Bits()
		first := numberOf(forward.AddrFrom(p.Masked().Addr()), is4)
		if is4 {
			host += 96
		}
		last := first
		last.lo |= 1<<min(host, 64) - 1
		last.hi |= 1<<max(host-64, 0) - 1
		list = append(list, listed{first, last, p.Bits(), mayIn})
	}
	return list
}

// rangesBuilder goes through prefixes by address.
type rangesBuilder struct {
	otherwise bool     // whether those that no prefix has may come
	open      []listed // that have the address which it is at, the shortest first
	starts    []addrNumber
	mayIn     []bool
}

// begin has addresses from first on be of one kind.
func (b *rangesBuilder) begin(first addrNumber, mayIn bool) {
	if n := len(b.starts); n > 0 && b.starts[n-1] == first {
		b.starts, b.mayIn = b.starts[:n-1], b.mayIn[:n-1]
	}
	if n := len(b.starts); n > 0 && b.mayIn[n-1] == mayIn {
		return
	}
	b.starts, b.mayIn = append(b.starts, first), append(b.mayIn, mayIn)
}

// endBefore ends the open prefixes that end before an address.
func (b *rangesBuilder) endBefore(at addrNumber) {
	for n := len(b.open); n > 0 && b.open[n-1].last.less(at); n-- {
		b.end()
	}
}

// endAll ends all open prefixes.
func (b *rangesBuilder) endAll() {
	for len(b.open) > 0 {
		b.end()
	}
}

// end ends the longest of the open prefixes.
func (b *rangesBuilder) end() {
	n := len(b.open) - 1
	after := b.open[n].last.next()
	b.open = b.open[:n]
	mayIn := b.otherwise
	if n > 0 {
		mayIn = b.open[n-1].mayIn
	}
	if after != (addrNumber{}) {
		b.begin(after, mayIn)
	}
}

func (b *rangesBuilder) ranges() clientRanges {
	return clientRanges{starts: slices.Clip(b.starts), firstMayIn: b.mayIn[0]}
}

// endDeniedConns ends the connections of clients that their service no longer allows.
// Servers of method NAT have what they still send reset.
func (p *Plane) endDeniedConns() {
	for c := uint32(1); c < p.table.used(); c++ {
		m := p.table.conns[c].load()
		if !m.has(flagLive) || p.table.isTemplate(c) {
			continue
		}
		s := p.servers.get(m.server())
		key := p.table.key(c)
		if s == nil || s.service.settings.Load().access.allows(key.src()) {
			continue
		}
		end, wanted := p.resettable(c, m, s)
		p.delete(m.id(c), flagAssured)
		if wanted && end.nat {
			p.closedNAT.add(&end, p.tick()+closedFor)
		}
	}
}
