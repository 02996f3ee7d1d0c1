package ipvsadm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/golb/golb/lb"
)

var errSyntax = errors.New("syntax")

// number reads a decimal as C's strtol does: after blanks, with a sign.
func number(text string, least, most int64) (int64, bool) {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= least && n <= most
}

// hostAndPort reads host, host:port or [v6]:port. Port is 0 where none is given.
func (p *Parser) hostAndPort(text string, proto lb.Protocol) (netip.Addr, uint16, error) {
	if inside, ok := strings.CutPrefix(text, "["); ok {
		host, service, ok := strings.Cut(inside, "]:")
		a, err := netip.ParseAddr(host)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return netip.Addr{}, 0, errSyntax
		}
		port, err := p.port(service, proto)
		return a, port, err
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is6() && a.Zone() == "" {
		return a, 0, nil
	}
	host, service, hasPort := strings.Cut(text, ":")
	if _, isNumber := number(text, -1<<62, 1<<62); isNumber || host == "" {
		return netip.Addr{}, 0, errSyntax // a port that its address was left out of
	}
	a, err := p.host(host)
	if err != nil || !hasPort {
		return a, 0, err
	}
	port, err := p.port(service, proto)
	return a, port, err
}

// host reads an IPv4 address or looks up a name.
func (p *Parser) host(text string) (netip.Addr, error) {
	if a, ok := inetAton(text); ok {
		return a, nil
	}
	if text == "" || strings.ContainsAny(text, " \t/:[]%") {
		return netip.Addr{}, errSyntax
	}
	if p.LookupHost != nil {
		return p.LookupHost(text)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip4", text)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil
}

// port reads a number or the name of a service of a protocol.
func (p *Parser) port(text string, proto lb.Protocol) (uint16, error) {
	if n, ok := number(text, 0, 65535); ok {
		return uint16(n), nil
	}
	if _, isNumber := number(text, -1<<62, 1<<62); isNumber || text == "" || proto == 0 {
		return 0, errSyntax
	}
	if p.LookupPort != nil {
		return p.LookupPort(proto, text)
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), proto.String(), text)
	return uint16(n), err
}

// inetAton reads IPv4 in all the forms of inet_aton(3): one to four numbers, decimal,
// octal or hexadecimal, the last of which fills what is left.
func inetAton(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := cNumber(part, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// cNumber reads a number with C's prefixes: 0x hexadecimal, 0 octal.
func cNumber(text string, bits int) (uint64, error) {
	base := 10
	if len(text) > 1 && text[0] == '0' {
		base, text = 8, text[1:]
		if text[0]|0x20 == 'x' {
			base, text = 16, text[1:]
		}
	}
	return strconv.ParseUint(text, base, bits)
}

// maskOf returns the IPv6 mask of a prefix length.
func maskOf(bits int) netip.Addr {
	var b [16]byte
	for i := range bits {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// fullMask is the mask of a whole address.
func fullMask(ipv6 bool) netip.Addr {
	if ipv6 {
		return maskOf(128)
	}
	return netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
