package dataplane

import "github.com/golb/golb/sched/siphash"

// A SYN cookie is the initial sequence number of a connection that golb answers without
// state: it holds what has to be known later (RFC 4987 §3.6). From the top: 3 bits of the
// time, 3 bits for the segment size, 8 bits of a hash of the client's initial sequence
// number, and 18 bits of a hash over these, so that only a host that received the cookie
// can acknowledge it. Both hashes are SipHash over the tuple and the time too: cookies of
// one tuple and time say nothing of any other.

// cookieKey is the secret of the hashes.
type cookieKey siphash.Key

// cookieSizes are the segment sizes in bytes that a cookie can hold: those of Ethernet
// with IPv4 and IPv6, of usual tunnels, and of the default (RFC 9293 §3.7.1).
var cookieSizes = [8]uint16{536, 1024, 1220, 1300, 1360, 1400, 1440, 1460}

const (
	cookieSlot     = 64 * TicksPerSecond // the unit of its time
	cookieLifetime = 4                   // slots after the one it was made in
	cookieHashBits = 18
)

// cookieSize is the number of the longest size that is not longer than mss; ok is false
// where all are.
func cookieSize(mss uint16) (size uint8, ok bool) {
	for i := len(cookieSizes) - 1; i >= 0; i-- {
		if cookieSizes[i] <= mss {
			return uint8(i), true
		}
	}
	return 0, false
}

// make makes the cookie of a client's SYN with sequence number isn.
func (k *cookieKey) make(key *flowKey, isn uint32, size uint8, now Tick) uint32 {
	slot := uint32(now / cookieSlot)
	head := slot&7<<29 | uint32(size)<<26 | uint32(k.isnHash(key, isn, slot))<<18
	return head | k.hash(key, slot, head)
}

// check reports whether c is a cookie of the tuple, and not too old.
func (k *cookieKey) check(key *flowKey, c uint32, now Tick) bool {
	slot, ok := slotOf(c, now)
	head := c &^ (1<<cookieHashBits - 1)
	return ok && c == head|k.hash(key, slot, head)
}

// isOfISN reports whether a cookie that check has found good is of a SYN with sequence
// number isn.
func (k *cookieKey) isOfISN(key *flowKey, c, isn uint32, now Tick) bool {
	slot, ok := slotOf(c, now)
	return ok && uint8(c>>cookieHashBits) == k.isnHash(key, isn, slot)
}

// slotOf is the slot that a cookie was made in; ok is false where it is too old.
func slotOf(c uint32, now Tick) (slot uint32, ok bool) {
	slot = uint32(now / cookieSlot)
	age := (slot - c>>29) & 7
	return slot - age, age <= cookieLifetime
}

// cookieSizeOf is the segment size in a cookie.
func cookieSizeOf(c uint32) int { return int(cookieSizes[c>>26&7]) }

// hash is over the head of a cookie, isnHash over the client's initial sequence number.
// The inputs differ in length, so that no one is also the other's.
func (k *cookieKey) hash(key *flowKey, slot, head uint32) uint32 {
	h := siphash.Sum24((*siphash.Key)(k), key[0], key[1], key[2], key[3], key[4], uint64(slot)<<32|uint64(head))
	return uint32(h) & (1<<cookieHashBits - 1)
}

func (k *cookieKey) isnHash(key *flowKey, isn, slot uint32) uint8 {
	return uint8(siphash.Sum24((*siphash.Key)(k), key[0], key[1], key[2], key[3], key[4], uint64(slot)<<32|uint64(isn), 1))
}
