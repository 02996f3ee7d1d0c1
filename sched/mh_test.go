package sched

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

func TestMHHash(t *testing.T) {
	for _, tt := range []struct {
		client string
		port   uint16
		want   uint32
	}{
		{"192.0.2.1", 0, 0x92889c88},
		{"203.0.113.7", 40000, 0xb9e9e930},
	} {
		f := clientFlow(tt.client, tt.port)
		if got := siphash13(fold(&f.Src)+uint32(f.SrcPort), mhKey1); got != tt.want {
			t.Errorf("%s port %d: got %#x, want %#x", tt.client, tt.port, got, tt.want)
		}
	}
}

func TestMHTable(t *testing.T) {
	x := newFixture(t, "mh", Options{}).weights(1, 1, 2)
	want := []mhClaim{{3167, 700, 1}, {1231, 3544, 1}, {1631, 3453, 2}}
	if diff := cmp.Diff(want, mhClaims(x.list), cmp.AllowUnexported(mhClaim{})); diff != "" {
		t.Errorf("claims: %s", diff)
	}
	table := x.Scheduler.(*mh).t.Load()
	var count [3]int
	for _, i := range table.slot {
		count[i]++
	}
	if want := [3]int{1024, 1023, 2046}; count != want {
		t.Errorf("slots: got %v, want %v", count, want)
	}
	var head string
	for _, i := range table.slot[:12] {
		head += string("ABC"[i])
	}
	if want := "ABCCCCBCCAAB"; head != want {
		t.Errorf("first slots: got %s, want %s", head, want)
	}
	for client, want := range map[string]int{"192.0.2.1": 2, "192.0.2.2": 1, "203.0.113.7": 2} {
		if got := x.Pick(clientFlow(client, 40000)); got != x.list[want] {
			t.Errorf("%s: got %v, want server %d", client, got.Addr, want)
		}
	}
}

func TestMHDrainedServerKeepsItsSlots(t *testing.T) {
	x := newFixture(t, "mh", Options{}).weights(1, 2, 3)
	before := x.Scheduler.(*mh).t.Load().slot
	x.edit(x.list[2], 0)
	if x.Scheduler.(*mh).t.Load().slot != before {
		t.Error("weight 0 moved slots")
	}
	x.edit(x.list[2], 1)
	if x.Scheduler.(*mh).t.Load().slot == before {
		t.Error("weight 1 for 3 moved no slot")
	}
}

func TestMHServerAddedWithWeight0HasNoSlots(t *testing.T) {
	x := newFixture(t, "mh", Options{}).weights(0, 1)
	for slot, i := range x.Scheduler.(*mh).t.Load().slot {
		if i == 0 {
			t.Fatalf("slot %d", slot)
		}
	}
	if x := newFixture(t, "mh", Options{}).weights(0, 0); x.letters(1) != "-" {
		t.Error("picked a server without weight")
	}
}

func TestMHWithMoreServersThanSlots(t *testing.T) {
	x := newFixture(t, "mh", Options{})
	for i := range mhSize + 2 {
		x.list = append(x.list, newServer(serverAddr(i), 80, 1))
	}
	x.Added(x.list, x.list[0])
	seen := map[*Server]bool{}
	table := x.Scheduler.(*mh).t.Load()
	for i := range uint32(mhSize) {
		seen[table.at(i)] = true
	}
	if len(seen) != mhSize || seen[x.list[0]] || seen[x.list[1]] {
		t.Errorf("%d servers have slots; newest: %v, %v", len(seen), seen[x.list[0]], seen[x.list[1]])
	}
}

// TestMHTableAsByDefinition holds the table against one filled as the paper says,
// from permutations written out in full.
func TestMHTableAsByDefinition(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Int32Range(0, 300), 1, 12).Draw(t, "weights")
		list := make([]*Server, len(weights))
		var heaviest, divisor int32
		for i, w := range weights {
			list[i] = newServer(serverAddr(i), 80, w)
			heaviest = max(heaviest, w)
			divisor = gcd(divisor, w)
		}
		got := mhFill(list)
		if heaviest == 0 {
			if got != nil {
				t.Fatal("a table without weights")
			}
			return
		}
		turns := func(w int32) int {
			n := int(w / divisor)
			for top := heaviest / divisor; top >= 64; top /= 2 {
				n /= 2
			}
			if w > 0 && n == 0 {
				n = 1
			}
			return n
		}
		if want := mhNaive(list, turns); got.slot != want {
			t.Fatalf("weights %v: tables differ", weights)
		}
	})
}

func mhNaive(list []*Server, turns func(int32) int) (table [mhSize]uint16) {
	permutation := make([][]uint32, len(list))
	for i, s := range list {
		id := fold(&s.Addr) + uint32(s.Port)
		offset, skip := siphash13(id, mhKey1)%mhSize, siphash13(id, mhKey2)%(mhSize-1)+1
		for j := range uint32(mhSize) {
			permutation[i] = append(permutation[i], uint32((uint64(offset)+uint64(j)*uint64(skip))%mhSize))
		}
	}
	owner := map[uint32]int{}
	for len(owner) < mhSize {
		for i, s := range list {
			for range turns(s.LastWeight()) {
				for len(permutation[i]) > 0 {
					slot := permutation[i][0]
					permutation[i] = permutation[i][1:]
					if _, taken := owner[slot]; !taken {
						owner[slot] = i
						break
					}
				}
			}
		}
	}
	for slot, i := range owner {
		table[slot] = uint16(i)
	}
	return table
}
