package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// testPlane is a plane of one worker, one TCP service of method DSR and one server, with a
// clock that tests set.
type testPlane struct {
	*Plane
	w   *Worker
	now time.Time
}

var (
	testVIP    = netip.MustParseAddrPort("192.0.2.80:80")
	testServer = netip.MustParseAddrPort("10.0.0.1:80")

	testServerMAC = forward.MAC{2, 0, 0, 0, 0, 2}
)

func newTestPlane(t *testing.T, connections int, persistence time.Duration) *testPlane {
	t.Helper()
	r := &testPlane{now: time.Unix(1e9, 0)}
	r.start(t, connections, persistence, DSR, 1, func() time.Time { return r.now })
	r.w = r.workers()[0]
	return r
}

// workers are the plane's.
func (r *testPlane) workers() []*Worker { return *r.Plane.workers.Load() }

// start makes the plane, with servers of a method, several workers and a clock.
func (r *testPlane) start(t *testing.T, connections int, persistence time.Duration, m Method, workers int, now func() time.Time) {
	t.Helper()
	r.Plane = New(Config{
		Connections: connections, Workers: workers, Now: now,
		Rand: rand.New(rand.NewPCG(1, 2)).Uint64, NextHops: noHops{},
	})
	v := r.NewService("tcp", testVIP.Port(), false)
	s, err := sched.New("wlc", sched.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v.SetScheduler(s)
	mask := forward.Addr{}
	for i := range mask {
		mask[i] = 0xff
	}
	v.Configure(ServiceConfig{Persistence: persistence, ClientMask: mask})
	server := r.AddServer(v, testServer)
	server.SetMethod(m, Tunnel{})
	server.SetRoute(Route{MTU: 1500})
	server.SetMAC(testServerMAC)
	server.Server.SetWeight(1)
	v.Add(server, 0)
	snap := NewSnapshot(Settings{ExpireNodestConn: true, AnswerRate: 1000})
	snap.Add(Match{VIP: netip.PrefixFrom(testVIP.Addr(), 32), Proto: forward.ProtoTCP, First: testVIP.Port(), Last: testVIP.Port()}, v)
	r.Publish(snap)
	r.SetInterfaces([]Interface{{MAC: forward.MAC{2, 0, 0, 0, 0, 1}, MTU: 1500}})
	for range workers {
		r.AddWorker(WorkerConfig{Ports: []Port{noPort{}}})
	}
}

// handle has the worker forward a segment of a client.
func (r *testPlane) handle(client netip.AddrPort, flags uint8) {
	r.w.Handle([]forward.Frame{frameOf(segment(client, testVIP, flags))})
}

// frameOf is b as a port lends it.
func frameOf(b []byte) forward.Frame {
	buf := append(make([]byte, forward.Headroom, forward.Headroom+len(b)), b...)
	return forward.Frame{Buf: buf, Head: forward.Headroom, Tail: len(buf), Offload: forward.Offload{DataValid: true}}
}

// segment is a frame with a TCP segment of IPv4 without payload.
func segment(src, dst netip.AddrPort, flags uint8) []byte {
	b := make([]byte, 14+20+20)
	b[5], b[11], b[12] = 1, 9, 8
	ip, tcp := b[14:34], b[34:]
	ip[0], ip[3], ip[8], ip[9] = 4<<4|5, 40, 64, forward.ProtoTCP
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum&0xffff))
	binary.BigEndian.PutUint16(tcp[0:], src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 5<<4, flags
	return b
}

type noPort struct{}

func (noPort) Recv([]forward.Frame) (int, error)        { return 0, nil }
func (noPort) Send(frames []forward.Frame) (int, error) { return len(frames), nil }
func (noPort) Wake()                                    {}

type noHops struct{}

func (noHops) NextHop(forward.Addr) (*Hop, forward.Addr) { return nil, forward.Addr{} }
