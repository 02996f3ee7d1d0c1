package sched

import (
	"encoding/binary"
	"slices"
	"testing"
)

// locality is an lblc or lblcr with servers A, B, C of weight 2 and a clock.
type locality struct {
	*fixture
	now     int64
	a, b, c *Server
}

func newLocality(t testing.TB, name string, expiration int64) *locality {
	l := &locality{}
	l.fixture = newFixture(t, name, Options{Now: func() int64 { return l.now }, Expiration: expiration}).weights(2, 2, 2)
	l.a, l.b, l.c = l.list[0], l.list[1], l.list[2]
	return l
}

// to picks for destination number n.
func (l *locality) to(n uint32) *Server {
	return l.Pick(&Flow{Dst: *destination(n)})
}

func (l *locality) expect(t *testing.T, when string, n uint32, want *Server) {
	t.Helper()
	if got := l.to(n); got != want {
		t.Errorf("%s %s: got server %d, want %d", l.Name(), when, slices.Index(l.list, got), slices.Index(l.list, want))
	}
}

func TestLocalityKeepsDestinationsWithTheirServer(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		setActive(l.a, 2)
		l.expect(t, "as many as weight", 1, l.a)
		l.expect(t, "new destination", 2, l.b)
		setActive(l.b, 1)
		setActive(l.c, 1)
		setActive(l.a, 3)
		l.expect(t, "beyond weight, none under half", 1, l.a)
		setActive(l.c, 0)
		l.expect(t, "locally overloaded", 1, l.c)
		setActive(l.a, 0)
		want := l.c // lblc moved it for good
		if name == "lblcr" {
			setActive(l.c, 1)
			want = l.a // both of the set serve
		}
		l.expect(t, "later", 1, want)
	}
}

// TestLocalityOverloadedServersAreUnderHalfToo: which others have few connections is not
// asked of those alone that could be picked.
func TestLocalityOverloadedServersAreUnderHalfToo(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		setActive(l.a, 3)
		setActive(l.b, 1)
		l.c.SetOverloaded(true)
		l.expect(t, "beyond weight, an overloaded one under half", 1, l.b)
	}
}

func TestLocalityServerNoLongerEligible(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		l.edit(l.a, 0)
		l.expect(t, "weight 0", 1, l.b)

		l = newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		l.a.SetOverloaded(true)
		want := l.a // a threshold does not move it
		if name == "lblcr" {
			want = l.b
		}
		l.expect(t, "overloaded", 1, want)

		l = newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		l.remove(l.a)
		setActive(l.b, 1)
		l.expect(t, "gone", 1, l.c)

		for _, s := range l.list {
			l.edit(s, 0)
		}
		l.expect(t, "all of weight 0", 1, nil)
		l.expect(t, "all of weight 0, new destination", 9, nil)
	}
}

func TestLocalityKnowsAServerThatComesBack(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		l.remove(l.a)
		l.a.SetGone(false)
		l.add(l.a)
		setInactive(l.a, 1000)
		l.expect(t, "back, though loaded", 1, l.a)
	}
}

func TestLocalityKnowsAServerThatIsMadeAnew(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 0)
		l.expect(t, "first", 1, l.a)
		l.remove(l.a)
		again := newServer(serverAddr(0), l.a.Port, 2)
		setInactive(l.b, 1)
		setInactive(again, 9) // so that wlc would not pick it
		l.add(again)
		l.expect(t, "after it came back", 1, again)
	}
}

func TestLocalityForgetsAfterExpiration(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		l := newLocality(t, name, 100)
		l.expect(t, "first", 1, l.a)
		setActive(l.a, 1)
		l.now = 100
		l.expect(t, "just in time", 1, l.a)
		l.now = 200
		l.expect(t, "a use extends", 1, l.a)
		l.now = 301
		l.expect(t, "expired", 1, l.b)
	}
}

// set returns the set of destination 1.
func (l *locality) set() []*Server {
	return l.Scheduler.(*lblcr).cache.get(destination(1), l.now).servers
}

func TestLBLCRSetLosesItsMostLoadedServer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		a, b   int64 // active connections
		change func(a, b *Server)
		left   string
	}{
		{"A more loaded", 2, 1, nil, "B"},
		{"B more loaded", 1, 2, nil, "A"},
		{"equal: the latest goes", 1, 1, nil, "A"},
		{"A more loaded, overloaded", 2, 1, func(a, _ *Server) { a.SetOverloaded(true) }, "B"},
		{"A more loaded, B overloaded", 2, 1, func(_, b *Server) { b.SetOverloaded(true) }, "B"},
		{"A more loaded, weight 0", 2, 1, func(a, _ *Server) { a.SetWeight(0) }, "A"},
	} {
		l := newLocality(t, "lblcr", 100)
		l.expect(t, "first", 1, l.a)
		setActive(l.a, 3)
		l.expect(t, "joins", 1, l.b)
		setActive(l.a, tt.a)
		setActive(l.b, tt.b)
		if tt.change != nil {
			tt.change(l.a, l.b)
		}
		l.now = 100
		l.to(1)
		if got := l.set(); !slices.Equal(got, []*Server{l.b, l.a}) {
			t.Errorf("%s: %d in the set before the expiration", tt.name, len(got))
		}
		l.now = 101
		l.to(1)
		want := map[string]*Server{"A": l.a, "B": l.b}[tt.left]
		if got := l.set(); !slices.Equal(got, []*Server{want}) {
			t.Errorf("%s: %s is not what is left of the set", tt.name, tt.left)
		}
	}
}

func TestLBLCRSetDoesNotOutgrowTheService(t *testing.T) {
	l := newLocality(t, "lblcr", 0)
	l.to(1)
	for range 100 {
		for _, s := range slices.Clone(l.list) {
			l.remove(s)
		}
		l.add(newServer("10.0.0.9", 80, 1))
		l.add(newServer("10.0.0.8", 80, 1))
		l.to(1)
	}
	if n := len(l.set()); n > minSetLimit {
		t.Errorf("%d servers", n)
	}
}

func destination(n uint32) *[16]byte {
	var a [16]byte
	binary.BigEndian.PutUint32(a[12:], n)
	return &a
}

func TestCacheBounds(t *testing.T) {
	c := newCache[int](0)
	for i := range uint32(cacheMax + 10) {
		*c.put(destination(i), 0) = int(i)
	}
	if len(c.entries) != cacheMax {
		t.Errorf("%d entries, want %d", len(c.entries), cacheMax)
	}
	if c.get(destination(9), 0) != nil {
		t.Error("longest unused still there")
	}
	if v := c.get(destination(10), 0); v == nil || *v != 10 {
		t.Error("next longest unused not there")
	}

	// Over cacheFull, six minutes are enough; then the expiration counts.
	for range cacheMax {
		c.get(destination(cacheMax+9), cacheFullExpire+1)
	}
	if len(c.entries) != cacheFull {
		t.Errorf("%d entries after six minutes, want %d", len(c.entries), cacheFull)
	}
	for range cacheMax {
		c.get(destination(cacheMax+9), cacheExpire+1)
	}
	if len(c.entries) != 1 {
		t.Errorf("%d entries after a day, want 1", len(c.entries))
	}
}

func TestCacheReusesWhatItDropped(t *testing.T) {
	c := newCache[int](10)
	*c.put(destination(1), 0) = 7
	if c.get(destination(1), 11) != nil {
		t.Fatal("not expired")
	}
	freed := c.free
	if v := c.put(destination(2), 11); v != &freed.value || *v != 0 {
		t.Errorf("entry %p of value %d, want %p of 0", v, *v, &freed.value)
	}
}
