package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
)

// FramesConfig says what frames to send.
type FramesConfig struct {
	Interface string
	Gateway   forward.MAC // whom they are for
	Source    netip.Addr
	Target    netip.AddrPort
	Flows     int // told apart by source port, from 1024 on; at most 64,000
}

// FrameLen is the length of the frames without their checksum: with it they have 64 bytes, Ethernet's least.
const FrameLen = 60

// SendFrames sends UDP datagrams, one of each flow in turn, as fast as the interface takes them, until ctx ends.
func SendFrames(ctx context.Context, cfg FramesConfig) error {
	p, err := afpacket.Open(afpacket.Config{Interface: cfg.Interface, SendOnly: true, QdiscBypass: true})
	if err != nil {
		return err
	}
	defer p.Close()
	frames := makeFrames(cfg, p.MAC())
	for at := 0; ctx.Err() == nil; {
		end := min(at+64, len(frames))
		if _, err := p.Send(frames[at:end]); err != nil {
			return fmt.Errorf("generator: %w", err)
		}
		at = end % len(frames)
	}
	return nil
}

func makeFrames(cfg FramesConfig, from forward.MAC) []forward.Frame {
	const ip, udp = forward.EthernetLen, forward.EthernetLen + 20
	frames := make([]forward.Frame, cfg.Flows)
	source, target := cfg.Source.As4(), cfg.Target.Addr().As4()
	for i := range frames {
		b := make([]byte, FrameLen)
		copy(b, cfg.Gateway[:])
		copy(b[6:], from[:])
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		b[ip] = 0x45
		binary.BigEndian.PutUint16(b[ip+2:], FrameLen-ip)
		b[ip+6] = 0x40 // Don't Fragment
		b[ip+8] = 64
		b[ip+9] = 17
		copy(b[ip+12:], source[:])
		copy(b[ip+16:], target[:])
		binary.BigEndian.PutUint16(b[ip+10:], ^sum(0, b[ip:udp]))
		binary.BigEndian.PutUint16(b[udp:], uint16(1024+i))
		binary.BigEndian.PutUint16(b[udp+2:], cfg.Target.Port())
		binary.BigEndian.PutUint16(b[udp+4:], FrameLen-udp)
		pseudo := uint32(17 + FrameLen - udp)
		binary.BigEndian.PutUint16(b[udp+6:], ^sum(pseudo, b[ip+12:]))
		frames[i] = forward.Frame{Buf: b, Tail: len(b)}
	}
	return frames
}

// sum is the Internet checksum's sum (RFC 1071) of an even number of bytes.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 0; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
