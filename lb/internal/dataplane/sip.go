package dataplane

import (
	"bytes"
	"crypto/sha256"

	"github.com/golb/golb/forward"
)

// maxCallID is the longest Call-ID in bytes that is used; longer ones count as missing.
const maxCallID = 255

// callKey is what a template has in the place of the client's address: half of a
// SHA-256 over the Call-ID and the part of the address that counts. Nobody can
// find two that share it, and it is the same on every host. ok is false for a
// packet that has no Call-ID.
func callKey(f *forward.Frame, p *forward.Packet, client forward.Addr) (key forward.Addr, ok bool) {
	b := f.Bytes()[p.Payload:p.End]
	if f.Offload.GSO != forward.GSONone {
		b = b[:min(len(b), int(f.Offload.GSOSize))] // the first of several datagrams
	}
	id := callID(b)
	if len(id) == 0 || len(id) > maxCallID {
		return key, false
	}
	var text [len(client) + maxCallID]byte
	n := copy(text[:], client[:])
	n += copy(text[n:], id)
	sum := sha256.Sum256(text[:n])
	return forward.Addr(sum[:len(key)]), true
}

// callID returns the value of the first Call-ID header field of a SIP message (RFC
// 3261 §20.8, i for short), or nil. Its line has to end in the message.
func callID(message []byte) []byte {
	_, tail, ok := headerLine(message) // the request or status line
	for ok {
		var line []byte
		line, tail, ok = headerLine(tail)
		if !ok || len(line) == 0 {
			return nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		if !bytes.EqualFold(name, []byte("Call-ID")) && !bytes.EqualFold(name, []byte("i")) {
			continue
		}
		value = bytes.Trim(value, " \t")
		if folded, _, ok := headerLine(tail); len(value) == 0 && ok && len(bytes.TrimLeft(folded, " \t")) < len(folded) {
			value = bytes.Trim(folded, " \t") // RFC 3261 §7.3.1
		}
		return value
	}
	return nil
}

// headerLine cuts the first line off; ok is false where it has no end.
func headerLine(b []byte) (line, tail []byte, ok bool) {
	end := bytes.IndexAny(b, "\r\n")
	if end < 0 {
		return nil, nil, false
	}
	line, tail = b[:end], b[end+1:]
	if b[end] == '\r' {
		tail = bytes.TrimPrefix(tail, []byte("\n"))
	}
	return line, tail, true
}
