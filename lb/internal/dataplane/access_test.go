package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/seeded"
)

func prefixesOf(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestTheLongestPrefixSaysWhoMayCome(t *testing.T) {
	for _, c := range []struct {
		name        string
		allow, deny []netip.Prefix
		in, out     []string
	}{
		{"no lists", nil, nil, []string{"0.0.0.0", "255.255.255.255", "::", "2001:db8::1"}, nil},
		{"allow alone", prefixesOf("10.0.0.0/8"), nil, []string{"10.0.0.0", "10.255.255.255"}, []string{"9.255.255.255", "11.0.0.0", "2001:db8::1", "::ffff:0:1"}},
		{"deny alone", nil, prefixesOf("10.0.0.0/8"), []string{"9.255.255.255", "11.0.0.0", "::"}, []string{"10.0.0.0", "10.255.255.255"}},
		{"nested", prefixesOf("10.0.0.0/8", "10.6.1.1/32"), prefixesOf("10.6.0.0/16"), []string{"10.5.255.255", "10.6.1.1", "10.7.0.0"}, []string{"10.6.0.0", "10.6.1.0", "10.6.1.2", "10.6.255.255"}},
		{"the ends of the space", prefixesOf("0.0.0.0/1", "ff00::/8"), prefixesOf("255.255.255.255/32", "::/128"), []string{"0.0.0.0", "127.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, []string{"128.0.0.0", "255.255.255.255", "::", "feff::"}},
		{"all", prefixesOf("0.0.0.0/0", "::/0"), prefixesOf("0.0.0.0/32"), []string{"0.0.0.1", "255.255.255.255", "::", "ffff::"}, []string{"0.0.0.0"}},
		{"in both", prefixesOf("10.0.0.0/8"), prefixesOf("10.0.0.0/8"), nil, []string{"10.0.0.0", "11.0.0.0"}},
		{"across 64 bits", nil, prefixesOf("2001:db8:0:1::/64", "2001:db8:0:2:8000::/65"), []string{"2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8:0:2::", "2001:db8:0:3::"}, []string{"2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2:8000::", "2001:db8:0:2:ffff::"}},
	} {
		a := newAccess(c.allow, c.deny)
		for _, in := range c.in {
			if !a.allows(forward.AddrFrom(netip.MustParseAddr(in))) {
				t.Errorf("%s: %s may not come", c.name, in)
			}
		}
		for _, out := range c.out {
			if a.allows(forward.AddrFrom(netip.MustParseAddr(out))) {
				t.Errorf("%s: %s may come", c.name, out)
			}
		}
	}
}

// randomPrefixes are prefixes of which many contain others.
func randomPrefixes(rng *rand.Rand, n int) (list []netip.Prefix) {
	for range n {
		a := randomClient(rng)
		p, _ := a.Prefix(a.BitLen() - rng.IntN(20))
		list = append(list, p)
	}
	return list
}

func randomClient(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(256)), byte(rng.IntN(256))})
	}
	b := [16]byte{0: 0xfd, 7: byte(rng.IntN(2)), 8: byte(rng.IntN(2))}
	binary.BigEndian.PutUint16(b[14:], uint16(rng.IntN(1<<16)))
	return netip.AddrFrom16(b)
}

// TestAccessAgainstTheDefinition holds the ranges against a look at each prefix.
func TestAccessAgainstTheDefinition(t *testing.T) {
	rng := seeded.Rand(t)
	for range 300 {
		allow, deny := randomPrefixes(rng, rng.IntN(40)), randomPrefixes(rng, rng.IntN(40))
		a := newAccess(allow, deny)
		for range 200 {
			client := randomClient(rng)
			longest, want := -1, len(allow) == 0
			for _, p := range allow {
				if p.Contains(client) && p.Bits() > longest {
					longest, want = p.Bits(), true
				}
			}
			for _, p := range deny {
				if p.Contains(client) && p.Bits() >= longest {
					longest, want = p.Bits(), false
				}
			}
			if got := a.allows(forward.AddrFrom(client)); got != want {
				t.Fatalf("allow %v, deny %v: %v may come: %v, want %v", allow, deny, client, got, want)
			}
		}
	}
}

func BenchmarkAccessOf100000Prefixes(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var deny []netip.Prefix
	for range 100_000 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rng.Uint32())
		p, _ := netip.AddrFrom4(a).Prefix(16 + rng.IntN(17))
		deny = append(deny, p)
	}
	a := newAccess(nil, deny)
	var clients [1 << 12]forward.Addr
	for i := range clients {
		var c [4]byte
		binary.BigEndian.PutUint32(c[:], rng.Uint32())
		clients[i] = forward.AddrFrom(netip.AddrFrom4(c))
	}
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			newAccess(nil, deny)
		}
	})
	b.Run("ask", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			a.allows(clients[n%len(clients)])
			n++
		}
	})
}
