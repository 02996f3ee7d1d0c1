package health

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every connection of every type over TCP begins with the header.
func TestEveryTypeSendsItsProxyHeader(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	rows := rows(t)
	for name, r := range rows {
		typ, _ := registry.Find(r.kind)
		if typ.Transport != "tcp" || r.host != nil || r.kind == "tcp" || r.kind == "syn" || r.params["path"] == "f" { // FTP's second connection
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			params := map[string]any{"send_proxy": "v2"}
			for k, v := range r.params {
				params[k] = v
			}
			serve := server(func(conn net.Conn) {
				head := make([]byte, len(proxyV2Local))
				if _, err := io.ReadFull(conn, head); err != nil || string(head) != proxyV2Local {
					t.Errorf("%s: begins with %q, %v", name, head, err)
					return
				}
				if r.begin != nil {
					conn = r.begin(t, conn)
				}
				r.up(t, conn)
				keepOpen(conn)
			})
			_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: serve.dial}, params)
			if err != nil {
				t.Fatal(err)
			}
			if got := checkOnce(t, c); got != "" {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
}

func TestProxyHeaderOfVersion1NamesTheConnection(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:0": `^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ PORT\r\n$`, "[::1]:0": `^PROXY TCP6 ::1 ::1 \d+ PORT\r\n$`} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Log(err)
			continue
		}
		defer l.Close()
		for _, connects := range []int{0, 1} {
			_, c, err := NewRegistry(TCPType()).New("tcp", Peer{Addr: netip.MustParseAddrPort(l.Addr().String())}, map[string]any{"send_proxy": true, "connects": connects})
			if err != nil {
				t.Fatal(err)
			}
			for range connects + 1 {
				if _, err := Once(t.Context(), c, time.Minute); err != nil {
					t.Fatal(err)
				}
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				line, err := bufio.NewReader(conn).ReadString('\n')
				_ = conn.Close()
				_, port, _ := net.SplitHostPort(l.Addr().String())
				if !regexp.MustCompile(strings.ReplaceAll(want, "PORT", port)).MatchString(line) {
					t.Errorf("got %q, %v", line, err)
				}
			}
		}
	}
}
