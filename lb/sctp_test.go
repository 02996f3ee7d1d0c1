package lb_test

import (
	"net/netip"
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

func TestSloppySCTPOpensWithAnyChunkButAbort(t *testing.T) {
	const initChunk, dataChunk, abortChunk = 1, 0, 6
	for _, c := range []struct {
		sloppy bool
		chunk  byte
		want   bool
	}{
		{false, initChunk, true}, {false, dataChunk, false}, {false, abortChunk, false},
		{true, initChunk, true}, {true, dataChunk, true}, {true, abortChunk, false},
	} {
		s := service(vip4, 1)
		s.Protocol = lb.SCTP
		cfg := lb.Config{Services: []lb.Service{s}}
		cfg.Settings.SloppySCTP = c.sloppy
		b := start(t, cfg)
		p := lbtest.Packet{SrcMAC: clientMAC, DstMAC: balancerMAC, Protocol: lb.SCTP, Src: client(1), Dst: netip.AddrPortFrom(vip4, 80)}
		header := []byte{4, 1, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0}
		got := b.inject(p.With(append(header, c.chunk, 0, 0, 4)))
		if (len(got) == 1) != c.want {
			t.Errorf("sloppy %v, chunk %d: %d frames reached a server", c.sloppy, c.chunk, len(got))
		}
	}
}
