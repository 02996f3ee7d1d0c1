package forward

import "encoding/binary"

// SCTP common header (RFC 9260 §3.1) and chunk header (§3.2).
const (
	sctpChecksum  = 8
	sctpHeaderLen = 12
	sctpChunkLen  = 2
	sctpChunkMin  = 4
)

// SCTP chunk types (RFC 9260 §3.2) that decidingChunk knows.
const (
	sctpAbort      = 6
	sctpCookieEcho = 10
	sctpCookieAck  = 11
)

// SCTPNoChunk stands in Packet.SCTPChunk for a packet without a chunk; type 255
// is reserved (RFC 9260 §3.2).
const SCTPNoChunk = 255

// readSCTP reads ports and the deciding chunk. b ends where the packet does.
func (p *Packet) readSCTP(b []byte) Reason {
	if p.L4+sctpHeaderLen > len(b) {
		return BadL4Header
	}
	p.Payload = p.L4 + sctpHeaderLen
	p.readPorts(b[p.L4:])
	p.SCTPChunk = decidingChunk(b[p.Payload:])
	return None
}

// decidingChunk returns the type of the chunk that decides the state change, as
// set_sctp_state in ip_vs_proto_sctp.c does.
func decidingChunk(chunks []byte) uint8 {
	if len(chunks) < sctpChunkMin {
		return SCTPNoChunk
	}
	t := chunks[0]
	if t != sctpCookieEcho && t != sctpCookieAck {
		return t
	}
	n := int(binary.BigEndian.Uint16(chunks[sctpChunkLen:]))
	if n < sctpChunkMin {
		return t
	}
	n = (n + 3) &^ 3
	if n+sctpChunkMin <= len(chunks) && chunks[n] == sctpAbort {
		return sctpAbort
	}
	return t
}
