package forward

import "encoding/binary"

// TCP option kinds (RFC 9293 §3.2).
const (
	tcpOptEnd    = 0
	tcpOptNop    = 1
	tcpOptMSS    = 2
	tcpOptMSSLen = 4
	tcpOptSACK   = 5 // RFC 2018 §3
)

// ClampMSS lowers the maximum segment size that a SYN or SYN-ACK offers to mss bytes, and
// reports whether it did. A segment without the option is not changed: its sender expects
// 536 or 1220 bytes (RFC 9293 §3.7.1). The checksum is updated (RFC 1624), unless it is
// partial and does not cover the option.
func ClampMSS(f *Frame, p *Packet, mss uint16) bool {
	if p.TCPFlags&FlagSYN == 0 {
		return false
	}
	h := f.Bytes()[p.L4:p.Payload]
	at := findMSS(h)
	if at == 0 {
		return false
	}
	old := binary.BigEndian.Uint16(h[at:])
	if old <= mss {
		return false
	}
	binary.BigEndian.PutUint16(h[at:], mss)
	if partialChecksum(f, p) {
		return true
	}
	c := change(old, mss)
	if at%2 != 0 { // the value is in two words of the sum (RFC 1071 §2 (B))
		c = c<<8 | c>>8
	}
	update(h[tcpChecksum:], c)
	return true
}

// findMSS returns the offset of the MSS option's value in a TCP header; 0 where there is
// none.
func findMSS(h []byte) int {
	at, n := findOption(h, tcpOptMSS)
	if n != tcpOptMSSLen-2 {
		return 0
	}
	return at
}

// findOption returns offset and length of the value of the first option of a kind in a
// TCP header; 0 and 0 where there is none.
func findOption(h []byte, kind byte) (at, n int) {
	for i := tcpMinLen; i+1 < len(h); {
		switch h[i] {
		case tcpOptEnd:
			return 0, 0
		case tcpOptNop:
			i++
			continue
		}
		n := int(h[i+1])
		if n < 2 || i+n > len(h) {
			return 0, 0
		}
		if h[i] == kind {
			return i + 2, n - 2
		}
		i += n
	}
	return 0, 0
}
