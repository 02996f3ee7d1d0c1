package dataplane

import (
	"crypto/sha256"
	"encoding/binary"
)

// A SYN cookie is the initial sequence number of a connection that golb answers without
// state: it holds what has to be known later (RFC 4987 §3.6). From the top: 3 bits of the
// time, 3 bits for the segment size, 8 bits of a hash of the client's initial sequence
// number, and 18 bits of a keyed hash over these and the tuple, so that only a host that
// received the cookie can acknowledge it.

// cookieKey is the secret of the hashes.
type cookieKey [2]uint64

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
	head := slot&7<<29 | uint32(size)<<26 | uint32(k.isnHash(isn))<<18
	return head | k.hash(key, slot, head)
}

// isnHash is the hash that a cookie has of the client's initial sequence number.
func (k *cookieKey) isnHash(isn uint32) uint8 { return uint8(fold(k[0]^uint64(isn), k[1]|1)) }

// check reports whether c is a cookie of the tuple, and not too old.
func (k *cookieKey) check(key *flowKey, c uint32, now Tick) bool {
	slot := uint32(now / cookieSlot)
	age := (slot - c>>29) & 7
	if age > cookieLifetime {
		return false
	}
	head := c &^ (1<<cookieHashBits - 1)
	return c == head|k.hash(key, slot-age, head)
}

// cookieSizeOf is the segment size in a cookie, cookieISNHash its hash of the client's
// initial sequence number.
func cookieSizeOf(c uint32) int    { return int(cookieSizes[c>>26&7]) }
func cookieISNHash(c uint32) uint8 { return uint8(c >> 18) }

func (k *cookieKey) hash(key *flowKey, slot, head uint32) uint32 {
	var b [64]byte
	binary.LittleEndian.PutUint64(b[0:], k[0])
	binary.LittleEndian.PutUint64(b[8:], k[1])
	for i, w := range key {
		binary.LittleEndian.PutUint64(b[16+8*i:], w)
	}
	binary.LittleEndian.PutUint32(b[56:], slot)
	binary.LittleEndian.PutUint32(b[60:], head)
	sum := sha256.Sum256(b[:])
	return binary.LittleEndian.Uint32(sum[:]) & (1<<cookieHashBits - 1)
}
