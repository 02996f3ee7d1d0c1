package sched

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSHServersOwnBucketsByWeight(t *testing.T) {
	for _, tt := range []struct {
		weights []int32
		head    string
	}{
		{[]int32{1, 2, 3}, "ABBCCCABBCCC"},
		{[]int32{2, 0, 1}, "AABCAABC"},
		{[]int32{0, 0}, "ABAB"},
		{[]int32{65535, 1}, "AAAA"},
	} {
		x := newFixture(t, "sh", Options{}).weights(tt.weights...)
		check := func(when string) {
			var got string
			for _, i := range x.Scheduler.(*sh).t.Load().slot[:len(tt.head)] {
				got += string("ABC"[i])
			}
			if got != tt.head {
				t.Errorf("%v %s: got %s, want %s", tt.weights, when, got, tt.head)
			}
		}
		check("added")
		x.edit(x.list[0], 9)
		x.edit(x.list[0], tt.weights[0])
		check("edited")
		x.remove(x.add(newServer("10.1.0.1", 80, 7)))
		check("removed")
	}
}

func TestDHBucketsGoRoundRegardlessOfWeight(t *testing.T) {
	x := newFixture(t, "dh", Options{}).weights(3, 1, 0)
	for i, got := range x.Scheduler.(*dh).t.Load().slot {
		if want := i % 3; int(got) != want {
			t.Fatalf("bucket %d: got %d, want %d", i, got, want)
		}
	}
	for dst, want := range map[string]*Server{
		"192.0.2.1": nil,       // bucket 50 is C's, of weight 0
		"192.0.2.2": x.list[1], // 148
		"10.0.0.1":  x.list[0], // 39
	} {
		f := &Flow{Dst: netip.MustParseAddr(dst).As16()}
		if got := x.Pick(f); got != want {
			t.Errorf("%s: got %p, want %p", dst, got, want)
		}
	}
}

func TestIneligibleBucket(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string // with B ineligible, then A too
	}{
		{"dh", Options{}, "--"},
		{"sh", Options{}, "--"},
		{"sh", Options{Fallback: true}, "A-"},
		{"mh", Options{}, "--"},
		{"mh", Options{Fallback: true}, "A-"},
	} {
		for _, how := range []string{"weight 0", "overloaded"} {
			x := newFixture(t, tt.name, tt.o).weights(1, 1)
			f := flowTo(t, x, x.list[1])
			disable := func(s *Server) {
				if how == "overloaded" {
					s.SetOverloaded(true)
				} else {
					s.SetWeight(0) // not yet told to the scheduler
				}
			}
			got := ""
			for _, s := range []*Server{x.list[1], x.list[0]} {
				disable(s)
				switch x.Pick(f) {
				case nil:
					got += "-"
				case x.list[0]:
					got += "A"
				case x.list[1]:
					got += "B"
				}
			}
			if got != tt.want {
				t.Errorf("%s %+v, %s: got %s, want %s", tt.name, tt.o, how, got, tt.want)
			}
		}
	}
}

// flowTo finds a flow that x takes to s.
func flowTo(t *testing.T, x *fixture, s *Server) *Flow {
	t.Helper()
	f := clientFlow("192.0.2.0", 40000)
	for i := range 256 {
		f.Src[15], f.Dst[15] = byte(i), byte(i)
		if x.Pick(f) == s {
			return f
		}
	}
	t.Fatal("no flow")
	return nil
}

func TestPortFlagSpreadsOneClient(t *testing.T) {
	for _, name := range []string{"sh", "mh"} {
		for _, port := range []bool{false, true} {
			x := newFixture(t, name, Options{Port: port}).weights(1, 1, 1, 1)
			seen := map[*Server]bool{}
			for p := range uint16(200) {
				seen[x.Pick(clientFlow("192.0.2.1", p))] = true
			}
			if want := map[bool]int{false: 1, true: 4}[port]; len(seen) != want {
				t.Errorf("%s port=%v: %d servers, want %d", name, port, len(seen), want)
			}
		}
	}
}

// TestMHFallbackOrder holds the search of mh-fallback against its definition: the
// client hashed again with offsets that begin at its own slot and go round.
func TestMHFallbackOrder(t *testing.T) {
	x := newFixture(t, "mh", Options{Fallback: true}).weights(1, 1, 1, 1, 1, 1, 1, 1)
	table := x.Scheduler.(*mh).t.Load()
	for _, s := range x.list[:4] {
		s.SetOverloaded(true)
	}
	for host := range 256 {
		f := clientFlow("192.0.2.0", 40000)
		f.Src[15] = byte(host)
		client := fold(&f.Src)
		home := siphash13(client, mhKey1) % 4093
		want := table.at(home)
		for offset := home; want.Overloaded(); offset = (offset + 1) % 4093 {
			want = table.at(siphash13(client+offset, mhKey1) % 4093)
		}
		if got := x.Pick(f); got != want {
			t.Errorf("192.0.2.%d: got server %d, want %d", host, slices.Index(x.list, got), slices.Index(x.list, want))
		}
	}
}
