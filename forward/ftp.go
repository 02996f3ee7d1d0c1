package forward

import (
	"bytes"
	"net/netip"
	"strconv"
)

// FTPKind is one of the four ways in which an FTP control connection names the
// address of a data connection.
type FTPKind uint8

// PORT and EPRT are commands of clients, 227 and 229 replies of servers.
const (
	FTPPort FTPKind = iota // PORT h1,h2,h3,h4,p1,p2 (RFC 959 §4.1.2)
	FTPEprt                // EPRT |1|192.0.2.1|1024| (RFC 2428 §2)
	FTPPasv                // 227 … h1,h2,h3,h4,p1,p2 (RFC 959 §4.1.2, RFC 1123 §4.1.2.6)
	FTPEpsv                // 229 … (|||1024|) (RFC 2428 §3)
)

// FTPEndpoint is the address of a data connection, as a line of a control connection
// names it.
type FTPEndpoint struct {
	Kind    FTPKind
	Addr    Addr   // the zero Addr with FTPEpsv, which means the server's
	Port    uint16 // never 0
	At, Len int    // offset and length, in bytes of the line, of the text that Append replaces
	delim   byte   // delimiter of EPRT and 229
}

// maxFTPLine bounds how many bytes of a line are searched for an address.
const maxFTPLine = 256

// ParseFTP reads one line of a control connection, from its first byte to its line feed:
// a server's reply if reply is true, a client's command if it is not. ok is false where
// the line is not one of the four, is malformed, or has no line feed.
func ParseFTP(line []byte, reply bool) (e FTPEndpoint, ok bool) {
	line = line[:min(len(line), maxFTPLine)]
	end := bytes.IndexByte(line, '\n')
	if end < 4 {
		return e, false
	}
	word, args := line[:4], line[4:end]
	switch {
	case reply && string(word) == "227 ":
		ok = e.scanHostPort(args)
	case reply && string(word) == "229 ":
		ok = e.scanPort(args)
	case !reply && bytes.EqualFold(word, []byte("PORT")):
		ok = e.readPORT(args)
	case !reply && bytes.EqualFold(word, []byte("EPRT")):
		ok = e.readEPRT(args)
	}
	e.At += 4
	return e, ok && e.Port != 0
}

// Append appends the text that names addr and port in the line's own format to b, and
// returns it: the replacement for Len bytes of the line from At on. addr must be of the
// family of e.Addr; with FTPEpsv it is not used.
func (e *FTPEndpoint) Append(b []byte, addr Addr, port uint16) []byte {
	switch e.Kind {
	case FTPEpsv:
		return strconv.AppendUint(b, uint64(port), 10)
	case FTPEprt:
		family := byte('1')
		if !addr.Is4() {
			family = '2'
		}
		b = append(b, family, e.delim)
		b = append(addr.Netip().AppendTo(b), e.delim)
		return strconv.AppendUint(b, uint64(port), 10)
	}
	a := addr.As4()
	for _, n := range [...]byte{a[0], a[1], a[2], a[3], byte(port >> 8)} {
		b = append(strconv.AppendUint(b, uint64(n), 10), ',')
	}
	return strconv.AppendUint(b, uint64(byte(port)), 10)
}

// scanHostPort looks for the six numbers of a 227 reply, which may be anywhere in its text
// (RFC 1123 §4.1.2.6).
func (e *FTPEndpoint) scanHostPort(s []byte) bool {
	e.Kind = FTPPasv
	for i := 0; i < len(s); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		if e.readHostPort(s, i) {
			return true
		}
		for i < len(s) && isDigit(s[i]) {
			i++
		}
	}
	return false
}

// readHostPort reads h1,h2,h3,h4,p1,p2 at offset at.
func (e *FTPEndpoint) readHostPort(s []byte, at int) bool {
	var n [6]byte
	i := at
	for k := range n {
		if k > 0 {
			if i >= len(s) || s[i] != ',' {
				return false
			}
			i++
		}
		v, width := number(s[i:], 255)
		if width == 0 {
			return false
		}
		n[k] = byte(v)
		i += width
	}
	if i < len(s) && s[i] == ',' {
		return false
	}
	e.Addr = AddrFrom4([4]byte(n[:4]))
	e.Port = uint16(n[4])<<8 | uint16(n[5])
	e.At, e.Len = at, i-at
	return true
}

func (e *FTPEndpoint) readPORT(s []byte) bool {
	e.Kind = FTPPort
	at := spaces(s)
	return at > 0 && e.readHostPort(s, at) && onlySpace(s[at+e.Len:])
}

// readEPRT reads |family|address|port|, where any printing character may be used in place
// of the bar.
func (e *FTPEndpoint) readEPRT(s []byte) bool {
	e.Kind = FTPEprt
	at := spaces(s)
	if at == 0 || at >= len(s) || !isDelimiter(s[at]) {
		return false
	}
	e.delim = s[at]
	at++
	fields := bytes.SplitN(s[at:], s[at-1:at], 4)
	if len(fields) != 4 || !onlySpace(fields[3]) {
		return false
	}
	addr, err := netip.ParseAddr(string(fields[1]))
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return false
	}
	if family := string(fields[0]); family != "1" && family != "2" || addr.Is4() != (family == "1") {
		return false
	}
	port, width := number(fields[2], 65535)
	if width == 0 || width != len(fields[2]) {
		return false
	}
	e.Addr, e.Port = AddrFrom(addr), uint16(port)
	e.At, e.Len = at, len(fields[0])+1+len(fields[1])+1+width
	return true
}

// scanPort looks for (|||port|) in a 229 reply.
func (e *FTPEndpoint) scanPort(s []byte) bool {
	e.Kind = FTPEpsv
	at := bytes.IndexByte(s, '(') + 1
	if at == 0 || at+3 > len(s) || !isDelimiter(s[at]) || s[at+1] != s[at] || s[at+2] != s[at] {
		return false
	}
	e.delim = s[at]
	port, width := number(s[at+3:], 65535)
	tail := s[at+3+width:]
	if width == 0 || len(tail) < 2 || tail[0] != e.delim || tail[1] != ')' {
		return false
	}
	e.Port, e.At, e.Len = uint16(port), at+3, width
	return true
}

// number reads a decimal number of at most limit at the start of s and returns it with how
// many digits it has: 0 where there is no number, or it is too large.
func number(s []byte, limit int) (n, width int) {
	for width < len(s) && isDigit(s[width]) {
		n = n*10 + int(s[width]-'0')
		width++
		if n > limit || width > 5 {
			return 0, 0
		}
	}
	return n, width
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isDelimiter reports whether c may be used in place of the bar (RFC 2428 §2). Digits are
// excluded, since they would be part of the numbers.
func isDelimiter(c byte) bool { return 33 <= c && c <= 126 && !isDigit(c) }

// spaces returns how many spaces s begins with.
func spaces(s []byte) int { return len(s) - len(bytes.TrimLeft(s, " ")) }

// onlySpace reports whether the rest of a line is nothing but space.
func onlySpace(s []byte) bool { return len(bytes.Trim(s, " \r")) == 0 }
