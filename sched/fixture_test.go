package sched

import (
	"net/netip"
	"slices"
)

// fixture is an owner of one service as ip_vs is: newest server first.
type fixture struct {
	Scheduler
	list []*Server
}

// fataler is a testing.TB or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(...any)
}

func newFixture(t fataler, name string, o Options) *fixture {
	t.Helper()
	s, err := New(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Scheduler: s}
}

func newServer(addr string, port uint16, weight int32) *Server {
	s := &Server{Addr: netip.MustParseAddr(addr).As16(), Port: port}
	new(Slab).Init(s)
	s.SetWeight(weight)
	return s
}

func setActive(s *Server, n int64) { s.AddConnections(n-s.Active(), 0) }

func setInactive(s *Server, n int64) { s.AddConnections(0, n-s.Inactive()) }

func (x *fixture) add(s *Server) *Server {
	x.list = slices.Concat([]*Server{s}, x.list)
	x.Added(x.list, s)
	return s
}

func (x *fixture) remove(s *Server) {
	i := slices.Index(x.list, s)
	x.list = slices.Concat(x.list[:i], x.list[i+1:])
	s.SetGone(true)
	x.Removed(x.list, s)
}

func (x *fixture) edit(s *Server, weight int32) {
	s.SetWeight(weight)
	x.Edited(x.list, s)
}

// weights adds a server of each weight so that the list is in the order given:
// 10.0.0.1, 10.0.0.2 and so on.
func (x *fixture) weights(weights ...int32) *fixture {
	for i, w := range slices.Backward(weights) {
		x.add(newServer(serverAddr(i), 80, w))
	}
	return x
}

func serverAddr(i int) string {
	return netip.AddrFrom4([4]byte{10, 0, byte((i + 1) >> 8), byte(i + 1)}).String()
}

func clientFlow(client string, port uint16) *Flow {
	return &Flow{
		Src: netip.MustParseAddr(client).As16(), SrcPort: port,
		Dst: netip.MustParseAddr("10.0.0.100").As16(), DstPort: 80, Proto: 6,
	}
}

// letters picks n times and names servers by their place in the list: A, B, ...,
// '-' where nothing is picked.
func (x *fixture) letters(n int) string {
	out := make([]byte, n)
	f := clientFlow("192.0.2.1", 40000)
	for i := range out {
		out[i] = '-'
		if s := x.Pick(f); s != nil {
			out[i] = byte('A' + slices.Index(x.list, s))
		}
	}
	return string(out)
}
