package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"

	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// row is a check of a type, as a config asks for it, and how its server begins:
// hostile servers play along up to there and only then misbehave.
type row struct {
	kind   string
	params map[string]any
	begin  func(t *testing.T, conn net.Conn) net.Conn // nil: misbehaves from the first byte
}

// matrixRows are all types that ask a server by TCP or UDP, in each form in which
// they speak otherwise.
func matrixRows(t *testing.T) map[string]row {
	cert, _ := certificate(t, 24*time.Hour)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1", "postgresql"}}
	secure := func(_ *testing.T, conn net.Conn) net.Conn {
		c := tls.Server(conn, cfg)
		if c.Handshake() != nil {
			return nil
		}
		return c
	}
	after := func(script ...string) func(*testing.T, net.Conn) net.Conn {
		return func(t *testing.T, conn net.Conn) net.Conn { dialogueOn(t, conn, script); return conn }
	}
	upgraded := func(script ...string) func(*testing.T, net.Conn) net.Conn {
		return func(t *testing.T, conn net.Conn) net.Conn { return secure(t, after(script...)(t, conn)) }
	}
	bytesFirst := func(read int, send string) func(*testing.T, net.Conn) net.Conn {
		return func(_ *testing.T, conn net.Conn) net.Conn {
			_, _ = io.ReadFull(conn, make([]byte, read))
			_, _ = io.WriteString(conn, send)
			return conn
		}
	}
	loggedIn := func(_ *testing.T, conn net.Conn) net.Conn { // to MySQL
		_, _ = io.WriteString(conn, mysqlHello(mysqlNative))
		head := make([]byte, 4)
		_, _ = io.ReadFull(conn, head)
		_, _ = io.ReadFull(conn, make([]byte, head[0]))
		_, _ = io.WriteString(conn, mysqlPacket(2, "\x00\x00\x00"))
		return conn
	}
	login := func(more ...any) map[string]any {
		m := map[string]any{"login": "bob", "password": "hello"}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	type params = map[string]any
	head := []string{"> ...", "> ...", "> ...", "> ...", "> "}
	return map[string]row{
		"tcp":                    {"tcp", nil, nil},
		"simpletcp":              {"simpletcp", nil, nil},
		"simpletcp, match":       {"simpletcp", params{"send": `status\r\n`, "contains": "READY"}, nil},
		"simpletcp, TLS":         {"simpletcp", params{"tls": true, "contains": "READY"}, secure},
		"tls":                    {"tls", params{"days": 30}, nil},
		"http":                   {"http", params{"path": "/x"}, nil},
		"http, body":             {"http", params{"contains": "OK"}, after(append(head, "< HTTP/1.1 200 OK", "< ")...)},
		"http2":                  {"http", params{"http2": true}, nil},
		"https":                  {"https", nil, nil},
		"https, after handshake": {"https", nil, secure},
		"https, http2":           {"https", params{"http2": true}, secure},
		"http_proxy":             {"http_proxy", params{"url": "http://www.example/x"}, nil},
		"http_proxy, CONNECT":    {"http_proxy", params{"url": "https://www.example/x"}, nil},
		"http_proxy, connected":  {"http_proxy", params{"url": "https://www.example/x"}, after(append(head, "< HTTP/1.1 200 OK", "< ")...)},
		"grpc":                   {"grpc", nil, nil},
		"grpc, TLS":              {"grpc", params{"tls": true}, secure},
		"smtp":                   {"smtp", nil, nil},
		"smtp, hello":            {"smtp", nil, after("< 220 mx", "> EHLO localhost")},
		"smtp, login":            {"smtp", login(), after("< 220 mx", "> ...", "< 250 mx", "> ...")},
		"smtp, STARTTLS":         {"smtp", params{"tls": "start"}, upgraded("< 220 mx", "> ...", "< 250 mx", "> ...", "< 220 go")},
		"submission":             {"submission", params{"tls": "start"}, after("< 220 mx", "> ...", "< 250 mx", "> STARTTLS")},
		"pop3":                   {"pop3", nil, nil},
		"pop3, login":            {"pop3", login(), after("< +OK", "> ...", "< +OK", "> ...")},
		"pop3s":                  {"pop3s", nil, nil},
		"pop3s, after handshake": {"pop3s", nil, secure},
		"imap":                   {"imap", nil, nil},
		"imap, login":            {"imap", login(), after("< * OK", "> ...")},
		"imaps":                  {"imaps", nil, nil},
		"imaps, after handshake": {"imaps", nil, secure},
		"nntp":                   {"nntp", nil, nil},
		"ftp":                    {"ftp", nil, nil},
		"ftp, login":             {"ftp", login(), after("< 220 files", "> ...")},
		"ftp, password":          {"ftp", login(), after("< 220 files", "> ...", "< 331 who", "> ...")},
		"ftp, passive":           {"ftp", params{"path": "f"}, after("< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV")},
		"ldap":                   {"ldap", nil, nil},
		"ldap, search":           {"ldap", params{"base": "dc=example"}, bytesFirst(14, string(berTLV(0x30, berInt(1), ldapAnswer(ldapBindResponse, 0, ""))))},
		"ldaps":                  {"ldaps", nil, nil},
		"ldaps, after handshake": {"ldaps", nil, secure},
		"mysql":                  {"mysql", nil, nil},
		"mysql, login":           {"mysql", login(), bytesFirst(0, mysqlHello(mysqlNative))},
		"mysql, query":           {"mysql", login("query", "select 1"), loggedIn},
		"pgsql":                  {"pgsql", nil, nil},
		"pgsql, TLS":             {"pgsql", params{"tls": true}, nil},
		"pgsql, login":           {"pgsql", login(), bytesFirst(8, pgAuth(3, ""))},
		"pgsql, query":           {"pgsql", login("query", "select 1"), bytesFirst(8, pgAuth(0, "")+pgMessage('Z', "I"))},
		"redis":                  {"redis", nil, nil},
		"redis, login":           {"redis", login(), nil},
		"redis, TLS":             {"redis", params{"tls": true}, secure},
		"sip, TCP":               {"sip", params{"tcp": true}, nil},
		"dns, TCP":               {"dns", params{"tcp": true}, nil},
		"dns":                    {"dns", nil, nil},
		"dns, name":              {"dns", params{"name": "www.example", "contains": "192.0.2.7"}, nil},
		"radius":                 {"radius", login("secret", "s3cret"), nil},
		"sip":                    {"sip", nil, nil},
		"udp":                    {"udp", nil, nil},
		"udp, reply":             {"udp", params{"reply": true}, nil},
		"udp, match":             {"udp", params{"contains": "READY"}, nil},
	}
}

// A type that is not in the matrix has tests of its own.
func TestMatrixHasEveryTypeThatAsksAServer(t *testing.T) {
	elsewhere := map[string]string{
		"on": "sends nothing", "off": "sends nothing", "external": "TestExternal", "ping": "TestPing", "syn": "TestSYN",
	}
	rows := matrixRows(t)
	for _, typ := range NewRegistry(Builtin()...).Types() {
		here := slices.ContainsFunc(slices.Collect(maps.Values(rows)), func(r row) bool { return r.kind == typ.Name })
		if _, there := elsewhere[typ.Name]; here == there {
			t.Errorf("%s: in the matrix %v, elsewhere %v", typ.Name, here, there)
		}
	}
}

// behaviour is what a hostile server does, once begun.
type behaviour struct {
	name string
	do   func(net.Conn)
}

func says(name, what string) behaviour {
	return behaviour{name, func(conn net.Conn) { _, _ = io.WriteString(conn, what); keepOpen(conn) }}
}

func saysForever(name, what string) behaviour {
	what = strings.Repeat(what, 1+1000/len(what))
	return behaviour{name, func(conn net.Conn) {
		go keepOpen(conn)
		for {
			if _, err := io.WriteString(conn, what); err != nil {
				return
			}
		}
	}}
}

// drips sends two bytes within the timeout, of what would be right for some.
func drips(name, what string) behaviour {
	return behaviour{name, func(conn net.Conn) { go keepOpen(conn); _, _ = io.WriteString(drip{conn}, what) }}
}

func behaviours() []behaviour {
	ping := "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	return []behaviour{
		{"silent", keepOpen},
		{"closes", func(net.Conn) {}},
		says("wrong: HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		says("wrong: SSH", "SSH-2.0-OpenSSH_9.2\r\n"),
		says("wrong: mail", "220 mx.example ESMTP\r\n"),
		says("wrong: text", "hello"),
		says("wrong: long", strings.Repeat("x", 3000)+"\r\n\r\n"),
		says("wrong: bytes", "\xff\xfe\x00\x1b[2J\u202e\r\n\r\n\r\n\r\n"),
		drips("slow: 220", "220 mx\r\n"),
		drips("slow: TLS", "\x16\x03\x03\x00\x7a\x02"),
		saysForever("endless: zeros", "\x00"),
		saysForever("endless: x", "x"),
		saysForever("endless: empty lines", "\r\n"),
		saysForever("endless: reply", "220-more\r\n"),
		saysForever("endless: 1xx", "HTTP/1.1 100 Continue\r\n\r\n"),
		{"endless: HTTP/2", func(conn net.Conn) {
			_, _ = io.WriteString(conn, settings)
			saysForever("", ping).do(conn)
		}},
	}
}

// hostileDial is a server of a row that misbehaves. sent counts what was read of
// it in bytes.
func (r row) hostileDial(t *testing.T, b behaviour, packets bool, sent *atomic.Int64) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		var conn net.Conn = &counted{far, sent}
		if !packets { // a pipe passes writes on as packets
			conn = &greedy{Conn: conn}
		}
		go func() {
			defer far.Close()
			if r.begin != nil {
				conn = r.begin(t, conn)
			}
			if packets { // it answers
				_, _ = conn.Read(make([]byte, 4096))
			}
			if conn != nil {
				b.do(conn)
			}
		}()
		return near, nil
	}
}

// counted counts what was written, that is, what the other end read.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// greedy reads on its own while it writes, as the host of a socket does, so that
// neither end waits for the other.
type greedy struct {
	net.Conn
	once sync.Once
	mu   sync.Mutex
	have bytes.Buffer
	more chan struct{} // closed when the other end is
	news chan struct{}
}

func (g *greedy) start() {
	g.more, g.news = make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(g.more)
		p := make([]byte, 4096)
		for {
			n, err := g.Conn.Read(p)
			g.mu.Lock()
			g.have.Write(p[:n])
			g.mu.Unlock()
			select {
			case g.news <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
}

func (g *greedy) Write(p []byte) (int, error) { g.once.Do(g.start); return g.Conn.Write(p) }

func (g *greedy) Read(p []byte) (int, error) {
	g.once.Do(g.start)
	for {
		g.mu.Lock()
		n, _ := g.have.Read(p)
		g.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-g.news:
		case <-g.more:
			g.mu.Lock()
			n, err := g.have.Read(p)
			g.mu.Unlock()
			return n, err
		}
	}
}

// Every type against every hostile server: the reasons are those of the golden file,
// nothing takes longer than its timeout or reads without a bound.
func TestHostileServers(t *testing.T) {
	rows := matrixRows(t)
	registry := NewRegistry(Builtin()...)
	var golden strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		typ, _ := registry.Find(r.kind)
		packets := typ.Transport == "udp" && r.params["tcp"] != true
		check := func(t *testing.T, dial DialFunc) Checker {
			_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: dial}, r.params)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		tell := func(what, reason string) {
			if reason == "" {
				reason = "up"
			}
			fmt.Fprintf(&golden, "%s | %s | %s\n", name, what, reason)
		}
		fails := map[string]DialFunc{
			"refused": func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			},
			"unreachable": func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
			},
			"no answer to connect": func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		}
		if packets {
			fails = map[string]DialFunc{"refused": noPort}
		}
		for _, what := range slices.Sorted(maps.Keys(fails)) {
			synctest.Test(t, func(t *testing.T) { tell(what, ask(t, check(t, fails[what]))) })
		}
		if !packets {
			synctest.Test(t, func(t *testing.T) { tell("resets", ask(t, check(t, resets))) })
		}
		for _, b := range behaviours() {
			if packets && b.name == "closes" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				reason := ask(t, check(t, r.hostileDial(t, b, packets, &sent)))
				tell(b.name, reason)
				if n := sent.Load(); n > maxRawRead+maxRead {
					t.Errorf("%s, %s: read %d bytes", name, b.name, n)
				}
				if len(reason) > maxReason+3 || strings.ContainsFunc(reason, func(c rune) bool { return !unicode.IsPrint(c) }) {
					t.Errorf("%s, %s: reason %q", name, b.name, reason)
				}
			})
		}
	}
	const file = "testdata/hostile.golden"
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(golden.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// resets is a server that accepts, and answers what it is asked with RST.
func resets(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	return reset{near}, nil
}

type reset struct{ net.Conn }

func (reset) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}
