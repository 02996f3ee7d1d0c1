package forward

import "encoding/binary"

// TCP header fields (RFC 9293 §3.1).
const (
	tcpSeq      = 4
	tcpAck      = 8
	tcpOffset   = 12
	tcpFlags    = 13
	tcpWindow   = 14
	tcpChecksum = 16
	tcpMinLen   = 20
)

// TCP control bits (RFC 9293 §3.1, ECE and CWR of RFC 3168 §6.1).
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// tcp is a TCP header and what follows, of at least 20 bytes.
type tcp []byte

func (h tcp) seq() uint32     { return binary.BigEndian.Uint32(h[tcpSeq:]) }
func (h tcp) setSeq(s uint32) { binary.BigEndian.PutUint32(h[tcpSeq:], s) }
func (h tcp) ack() uint32     { return binary.BigEndian.Uint32(h[tcpAck:]) }
func (h tcp) headerLen() int  { return int(h[tcpOffset]>>4) * 4 }

// readTCP reads ports, flags and the payload's offset. b ends where the packet does. A
// first fragment must have the fixed header (RFC 1858 §3.2.1); its options may be cut
// short.
func (p *Packet) readTCP(b []byte) Reason {
	if p.L4+tcpMinLen > len(b) {
		return BadL4Header
	}
	h := tcp(b[p.L4:])
	hl := h.headerLen()
	if hl < tcpMinLen {
		return BadL4Header
	}
	p.Payload = p.L4 + hl
	if p.Payload > len(b) {
		if p.Frag != FirstFrag {
			return BadL4Header
		}
		p.Payload = len(b)
	}
	p.readPorts(h)
	p.TCPFlags = h[tcpFlags]
	return None
}
