package afpacket

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
)

// newLink makes two hosts without addresses and a cable between them: a host receives only
// what a port on the other one sends, apart from IPv6 discovery.
func newLink(t testing.TB) (a, b *lab.Host) {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err = l.Host("a")
	must(t, err)
	b, err = l.Host("b")
	must(t, err)
	must(t, l.Connect(a, lab.LinkConfig{}, b, lab.LinkConfig{}))
	return a, b
}

// udpFrame returns a UDP datagram from 192.0.2.1 to dst, in a frame for a MAC.
func udpFrame(to forward.MAC, dst string, srcPort, dstPort uint16, payload string) []byte {
	f := ipFrame(netip.MustParseAddr(client4), netip.MustParseAddr(dst), 17)
	copy(f, to[:])
	f[6] = 2
	binary.BigEndian.PutUint16(f[16:], uint16(28+len(payload)))
	f[22] = 64
	f = binary.BigEndian.AppendUint16(f, srcPort)
	f = binary.BigEndian.AppendUint16(f, dstPort)
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(payload)))
	return append(append(f, 0, 0), payload...)
}

func asFrames(list ...[]byte) []forward.Frame {
	var frames []forward.Frame
	for _, b := range list {
		frames = append(frames, forward.Frame{Buf: b, Tail: len(b)})
	}
	return frames
}

func sendAll(t testing.TB, p *Port, list ...[]byte) {
	t.Helper()
	if n, err := p.Send(asFrames(list...)); n != len(list) || err != nil {
		t.Fatalf("sent %d of %d frames: %v", n, len(list), err)
	}
}

// receive returns the payloads of datagrams before one with the payload "end".
func receive(t testing.TB, p *Port) []string {
	t.Helper()
	var got []string
	frames := make([]forward.Frame, 16)
	watchdog := time.AfterFunc(time.Minute, p.Wake)
	defer watchdog.Stop()
	for {
		n, err := p.Recv(frames)
		must(t, err)
		if n == 0 {
			t.Fatalf("no end after %q", got)
		}
		for i := range frames[:n] {
			b := frames[i].Bytes()
			if b[12] == 0x86 {
				continue // the kernel's IPv6 discovery
			}
			payload := string(b[42:])
			if payload == "end" {
				return got
			}
			got = append(got, payload)
		}
	}
}
