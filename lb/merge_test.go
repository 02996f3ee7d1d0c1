package lb

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

// bulk is what a sender sends one after another, n packets of so many bytes of payload.
type bulk struct {
	proto    Protocol
	src, dst netip.AddrPort
	n, size  int
}

// frames are in buffers as ports lend them, and known to be whole.
func (x bulk) frames() []forward.Frame {
	list := make([]forward.Frame, x.n)
	for i := range list {
		b := append(rigFrame(rigClient, x.proto, x.src, x.dst, forward.FlagACK), make([]byte, x.size)...)
		l4 := 54
		if x.src.Addr().Is4() {
			l4 = 34
			binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
			binary.BigEndian.PutUint16(b[18:], uint16(i))
			rigHeaderSum(b)
		} else {
			binary.BigEndian.PutUint16(b[18:], uint16(len(b)-54))
		}
		if x.proto == TCP {
			binary.BigEndian.PutUint32(b[l4+4:], uint32(i*x.size))
		} else {
			binary.BigEndian.PutUint16(b[l4+4:], uint16(len(b)-l4))
		}
		f := &list[i]
		f.Buf = make([]byte, forward.Headroom+forward.MaxFrame)
		f.Head, f.Tail = forward.Headroom, forward.Headroom+copy(f.Buf[forward.Headroom:], b)
		f.Offload.DataValid = true
	}
	return list
}

// mergeRig has a service of each method for TCP and UDP, of IPv4 and IPv6; the servers'
// ports are 8080 with NAT.
func mergeRig(t *testing.T, settings Settings, gso [2]bool) *rig {
	cfg := Config{Workers: 1, MaxConnections: 1 << 10, Settings: settings}
	for i, method := range []Method{DSR, NAT, TUN} {
		for _, proto := range []Protocol{TCP, UDP} {
			for _, v := range [][2]string{{"192.0.2.10%d", "10.0.0.%d"}, {"2001:db8::10%d", "fd00::%d"}} {
				s := Service{VIP: netip.MustParseAddr(fmt.Sprintf(v[0], i)), Protocol: proto, Port: 80, Method: method, Check: Check{Type: "none"},
					Servers: []Server{{Address: netip.MustParseAddr(fmt.Sprintf(v[1], i+1))}}}
				if method == NAT {
					s.Servers[0].Port = 8080
				}
				cfg.Services = append(cfg.Services, s)
			}
		}
	}
	return newRigWith(t, &rig{gso: gso}, cfg, 0)
}

// sentOf hands frames to the worker and counts the frames that it sends.
func (r *rig) sentOf(frames []forward.Frame) int {
	before := r.ports[0].n
	r.n.workers[0].Handle(frames)
	return r.ports[0].n - before
}

func mergeBulk(method Method, proto Protocol, v6 bool, n int) bulk {
	x := bulk{proto: proto, n: n, size: 1000}
	x.src, x.dst = netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort(fmt.Sprintf("192.0.2.10%d:80", method-DSR))
	if v6 {
		x.src, x.dst = netip.MustParseAddrPort("[2001:db8:1::1]:4000"), netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::10%d]:80", method-DSR))
	}
	return x
}

func TestPacketsOfAFlowLeaveAsOneSuperPacket(t *testing.T) {
	off := false
	for _, tc := range []struct {
		name     string
		settings Settings
		gso      [2]bool
		merged   bool
	}{
		{name: "default", settings: Settings{SloppyTCP: true}, gso: [2]bool{true, true}, merged: true},
		{name: "off", settings: Settings{SloppyTCP: true, Merge: &off}, gso: [2]bool{true, true}},
		{name: "port without", settings: Settings{SloppyTCP: true}},
	} {
		for _, method := range []Method{DSR, NAT, TUN} {
			for _, proto := range []Protocol{TCP, UDP} {
				for _, v6 := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%v/%v/IPv6=%v", tc.name, method, proto, v6), func(t *testing.T) {
						r := mergeRig(t, tc.settings, tc.gso)
						x := mergeBulk(method, proto, v6, 8)
						want := 8
						if tc.merged && method != TUN {
							want = 1
						}
						if got := r.sentOf(x.frames()); got != want {
							t.Errorf("8 packets left as %d frames, want %d", got, want)
						}
						if method != NAT {
							return
						}
						server := netip.MustParseAddrPort("10.0.0.2:8080")
						if v6 {
							server = netip.MustParseAddrPort("[fd00::2]:8080")
						}
						if got := r.sentOf(bulk{proto: proto, src: server, dst: x.src, n: 8, size: 1000}.frames()); got != want {
							t.Errorf("8 replies left as %d frames, want %d", got, want)
						}
					})
				}
			}
		}
	}
}

func TestUDPStaysApartWhereThePortTakesTCPAlone(t *testing.T) {
	r := mergeRig(t, Settings{SloppyTCP: true}, [2]bool{true, false})
	frames := append(mergeBulk(DSR, UDP, false, 4).frames(), mergeBulk(DSR, TCP, false, 4).frames()...)
	if got := r.sentOf(frames); got != 5 {
		t.Errorf("%d frames, want 5", got)
	}
}

// Traffic without anything to merge is looked at seldom, and found out when it changes.
func TestMergingBeginsAgainWithinSixteenBatches(t *testing.T) {
	r := mergeRig(t, Settings{SloppyTCP: true}, [2]bool{true, true})
	for range 100 { // pure acknowledgements
		x := mergeBulk(DSR, TCP, false, 4)
		x.size = 0
		if got := r.sentOf(x.frames()); got != 4 {
			t.Fatalf("%d frames", got)
		}
	}
	for n := 1; r.sentOf(mergeBulk(DSR, TCP, false, 4).frames()) != 1; n++ {
		if n == 16 {
			t.Fatal("not in 16 batches")
		}
	}
	for range 100 {
		if got := r.sentOf(mergeBulk(DSR, TCP, false, 4).frames()); got != 1 {
			t.Fatalf("%d frames after merging has begun", got)
		}
	}
}
