package dataplane

import (
	"reflect"
	"testing"
)

const cacheLine = 64

// TestFieldsReadPerPacketShareNoLineWithWrittenOnes is about false sharing: a write to
// one field must not take the cache line of another from the workers that read it.
func TestFieldsReadPerPacketShareNoLineWithWrittenOnes(t *testing.T) {
	for _, c := range []struct {
		of      any
		read    []string // by each packet
		written []string // by connections that come, go and change, or under a lock
	}{
		{Server{}, []string{"addrWords", "service", "path", "counters", "gone"},
			[]string{"Server", "upper", "lower", "templates", "failed", "methods", "unreferredSince"}},
		{table{}, []string{"conns", "cold", "buckets", "secret"}, []string{"shards", "nextUnused"}},
		{Plane{}, []string{"snap", "table", "servers", "now", "start", "hooks"}, []string{"expiry", "frags", "hops", "ftp", "probes", "closedNAT", "dropped", "cut"}},
		{expiry{}, []string{"behind"}, []string{"mu"}},
	} {
		of := reflect.TypeOf(c.of)
		for _, r := range c.read {
			for _, w := range c.written {
				if gap := between(t, of, r, w); gap < cacheLine-1 {
					t.Errorf("%v: %d bytes between %s, which packets read, and %s", of, gap, r, w)
				}
			}
		}
	}
}

// between is how many bytes are between two fields.
func between(t *testing.T, of reflect.Type, a, b string) int {
	x, ok1 := of.FieldByName(a)
	y, ok2 := of.FieldByName(b)
	if !ok1 || !ok2 {
		t.Fatalf("%v has no field %s or %s", of, a, b)
	}
	if x.Offset > y.Offset {
		x, y = y, x
	}
	return int(y.Offset) - int(x.Offset+x.Type.Size())
}

// TestWorkersShareNoWrittenLine: two workers write to no common cache line per packet,
// but for those of connections.
func TestWorkersShareNoWrittenLine(t *testing.T) {
	if size := reflect.TypeFor[counters]().Size(); size != cacheLine {
		t.Errorf("counters are %d bytes, not a line", size)
	}
	for n := 1; n <= 128; n++ {
		list := newServer(testServer, n).counters
		if at := reflect.ValueOf(&list[0]).Pointer(); at%cacheLine != 0 {
			t.Errorf("counters of %d workers begin %d bytes into a line", n, at%cacheLine)
		}
	}
	of := reflect.TypeFor[Worker]()
	if last := of.Field(of.NumField() - 1).Type; last != reflect.TypeFor[line]() {
		t.Errorf("a worker ends with a %v, which may be on a line of the next one", last)
	}
	if size := reflect.TypeFor[conn]().Size(); size != cacheLine {
		t.Errorf("a connection is %d bytes, not a line", size)
	}
	if size := reflect.TypeFor[bucket]().Size(); size != cacheLine {
		t.Errorf("a bucket of the index is %d bytes, not a line", size)
	}
	tab := newTable(1<<10, 0, hashKey{}, 0)
	for name, at := range map[string]uintptr{
		"connections": reflect.ValueOf(&tab.conns[0]).Pointer(), "buckets": reflect.ValueOf(&tab.buckets[0]).Pointer(),
	} {
		if at%cacheLine != 0 {
			t.Errorf("%s begin %d bytes into a line", name, at%cacheLine)
		}
	}
}

// TestSchedulersAndPacketsAgreeOnGone: gone is a copy of what schedulers read.
func TestSchedulersAndPacketsAgreeOnGone(t *testing.T) {
	s := newServer(testServer, 1)
	for _, gone := range []bool{true, false, true} {
		s.setGone(gone)
		if s.Gone() != gone || s.gone.Load() != gone {
			t.Errorf("setGone(%v): %v to schedulers, %v to packets", gone, s.Gone(), s.gone.Load())
		}
	}
}
