package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ProxyHeader is a version of the PROXY protocol (haproxy.org, doc/proxy-protocol.txt).
type ProxyHeader uint8

// The versions. Like HAProxy's checks, version 1 names the connection's own addresses, and
// version 2 says LOCAL, a connection of the proxy itself.
const (
	NoProxyHeader ProxyHeader = iota
	ProxyV1
	ProxyV2
)

// proxyV2Local is the header of version 2, command LOCAL, without addresses.
const proxyV2Local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

// Dial returns a DialFunc whose TCP connections begin with the header, for servers that
// expect it of each.
func (h ProxyHeader) Dial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial.dial(ctx, network, address)
		if err != nil || !strings.HasPrefix(network, "tcp") || h == NoProxyHeader {
			return conn, err
		}
		header := proxyV2Local
		if h == ProxyV1 {
			header = proxyV1(conn)
		}
		if at, limited := ctx.Deadline(); limited {
			_ = conn.SetWriteDeadline(at) // a closed connection says so when it is written to
		}
		if _, err := conn.Write([]byte(header)); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// proxyV1 returns the header of version 1 for a connection, UNKNOWN where that is not TCP.
func proxyV1(conn net.Conn) string {
	from, ok1 := conn.LocalAddr().(*net.TCPAddr)
	to, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return "PROXY UNKNOWN\r\n"
	}
	plain := func(a netip.AddrPort) netip.Addr { return a.Addr().Unmap().WithZone("") }
	family := "TCP6"
	if plain(to.AddrPort()).Is4() {
		family = "TCP4"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, plain(from.AddrPort()), plain(to.AddrPort()), from.Port, to.Port)
}

// bind binds the key send_proxy.
func (h *ProxyHeader) bind(k *Keys) {
	k.Func("send_proxy", "false", "begin each connection with a PROXY header: v1 (true means that) or v2", "false, true, v1, v2", func(s string) error {
		version, ok := map[string]ProxyHeader{"false": NoProxyHeader, "no": NoProxyHeader, "true": ProxyV1, "yes": ProxyV1, "v1": ProxyV1, "v2": ProxyV2}[s]
		if !ok {
			return errNotAllowed
		}
		*h = version
		return nil
	})
}
