package dataplane

import (
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

func cookieTuple(client byte) flowKey {
	t := tuple{src: forward.AddrFrom(netip.AddrFrom4([4]byte{198, 51, 100, client})), dst: forward.AddrFrom(testVIP.Addr()), srcPort: 4000, dstPort: 80, proto: forward.ProtoTCP}
	return t.key()
}

// TestCookiesOfOneTupleAndTimeSayNothingOfOthers: who has many SYNs answered, with
// initial sequence numbers of his choice, must not learn what others' cookies are.
func TestCookiesOfOneTupleAndTimeSayNothingOfOthers(t *testing.T) {
	k := cookieKey{0x0123456789abcdef, 0xfedcba9876543210}
	const isns = 256
	mine := cookieTuple(1)
	for _, c := range []struct {
		name string
		key  flowKey
		slot uint32
	}{{"another tuple", cookieTuple(2), 1}, {"another time", mine, 2}} {
		sameISN, sameTag, differences := 0, 0, map[uint8]bool{}
		for isn := range uint32(isns) {
			a, b := k.isnHash(&mine, isn, 1), k.isnHash(&c.key, isn, c.slot)
			if a == b {
				sameISN++
			}
			differences[a^b] = true
			if k.hash(&mine, 1, isn) == k.hash(&c.key, c.slot, isn) {
				sameTag++
			}
		}
		if sameISN > isns/16 || sameTag > 1 || len(differences) < isns/4 {
			t.Errorf("%s: of %d hashes %d are the same, with %d differences; of the others %d", c.name, isns, sameISN, len(differences), sameTag)
		}
	}
}

func TestCookieIsGoodForItsTupleAndTime(t *testing.T) {
	k, key := cookieKey{1, 2}, cookieTuple(1)
	for slot := range Tick(20) {
		now := slot * cookieSlot
		c := k.make(&key, 77, 3, now)
		for age := range Tick(8) {
			later := now + age*cookieSlot
			if got := k.check(&key, c, later); got != (age <= cookieLifetime) {
				t.Errorf("made in slot %d, %d later: good %v", slot, age, got)
			}
		}
		other := cookieTuple(2)
		switch {
		case !k.isOfISN(&key, c, 77, now+cookieSlot), k.isOfISN(&key, c, 78, now) && k.isOfISN(&key, c, 79, now):
			t.Error("the client's sequence number is not told apart")
		case k.check(&other, c, now), k.check(&key, c+1, now):
			t.Error("another tuple's cookie, or another number, is good")
		case cookieSizeOf(c) != int(cookieSizes[3]):
			t.Errorf("size %d", cookieSizeOf(c))
		}
	}
}
