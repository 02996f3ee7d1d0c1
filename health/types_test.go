package health

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// row is a check of a type, with parameters as in a config, and a server for it. Tests
// over all rows hold the check against that server, against hostile ones, against
// trouble of this host, and fuzz it.
//
// To add a type, add it to Builtin and here: a row for each of its protocol's ways.
type row struct {
	kind   string
	params map[string]any
	// begin plays the server up to where hostile ones misbehave; nil: from the first
	// byte. It returns the connection to go on with.
	begin func(t testing.TB, conn net.Conn) net.Conn
	// up goes on from there as a server that is up.
	up func(t testing.TB, conn net.Conn)
	// refuse is what a server sends from there that refuses in words of its own; nil
	// where the protocol has none.
	refuse func(text string) string
	// host answers the packets of a type that uses packet sockets, as a host that is up
	// does; it takes the place of begin and up.
	host func(request []byte) [][]byte
}

// rows are the rows of all types of this package, by name.
func rows(t testing.TB) map[string]row {
	cert, _ := certificate(t, 60*24*time.Hour)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1", "postgresql"}}
	return rowsOver(t, func(_ testing.TB, conn net.Conn) net.Conn {
		s := tls.Server(conn, cfg)
		_ = s.Handshake() // the next read or write returns the error
		return s
	})
}

// rowsOver is rows of servers that begin TLS as secure does.
func rowsOver(t testing.TB, secure func(testing.TB, net.Conn) net.Conn) map[string]row {
	// after plays a script, see dialogueOn; upgraded then starts TLS.
	reply := func(script ...string) func(testing.TB, net.Conn) net.Conn {
		return func(t testing.TB, conn net.Conn) net.Conn { dialogueOn(t, conn, script); return conn }
	}
	upgraded := func(script ...string) func(testing.TB, net.Conn) net.Conn {
		return func(t testing.TB, conn net.Conn) net.Conn { return secure(t, reply(script...)(t, conn)) }
	}
	// reads takes some bytes of the client and sends others.
	reads := func(n int, send string) func(testing.TB, net.Conn) net.Conn {
		return func(_ testing.TB, conn net.Conn) net.Conn {
			_, _ = io.CopyN(io.Discard, conn, int64(n))
			_, _ = io.WriteString(conn, send)
			return conn
		}
	}
	mysqlTLS := func(_ testing.TB, conn net.Conn) net.Conn {
		_, _ = io.WriteString(conn, mysqlHello(mysqlNative))
		_, _ = io.CopyN(io.Discard, conn, 4+32)
		return conn
	}
	mysqlLogin := func(_ testing.TB, conn net.Conn) net.Conn {
		_, _ = io.WriteString(conn, mysqlHello(mysqlNative))
		head := make([]byte, 4)
		_, _ = io.ReadFull(conn, head)
		_, _ = io.CopyN(io.Discard, conn, int64(head[0]))
		_, _ = io.WriteString(conn, mysqlPacket(2, "\x00\x00\x00"))
		return conn
	}
	play := func(script ...string) func(testing.TB, net.Conn) {
		return func(t testing.TB, conn net.Conn) { dialogueOn(t, conn, script) }
	}
	send := func(text string) func(testing.TB, net.Conn) {
		return func(_ testing.TB, conn net.Conn) { _, _ = io.WriteString(conn, text) }
	}
	overTLS := func(up func(testing.TB, net.Conn)) func(testing.TB, net.Conn) {
		return func(t testing.TB, conn net.Conn) {
			up(t, secure(t, conn))
		}
	}
	in := func(begin func(testing.TB, net.Conn) net.Conn, up func(testing.TB, net.Conn)) func(testing.TB, net.Conn) {
		return func(t testing.TB, conn net.Conn) { up(t, begin(t, conn)) }
	}
	on := func(s server) func(testing.TB, net.Conn) {
		return func(_ testing.TB, conn net.Conn) { s(conn) }
	}
	http2 := func(handler http.HandlerFunc) func(testing.TB, net.Conn) {
		return func(_ testing.TB, conn net.Conn) { serveOne(conn, handler) }
	}
	answer := func(f func([]byte) []byte) func(testing.TB, net.Conn) { return on(datagramServer(f)) }

	line := func(before string) func(string) string {
		return func(text string) string { return before + text + "\r\n" }
	}
	httpError := func(text string) string { return "HTTP/1.1 500 " + text + "\r\nLocation: " + text + "\r\n\r\n" }
	mysqlError := func(seq int) func(string) string {
		return func(text string) string { return mysqlPacket(seq, "\xff\x15\x04#28000"+text) }
	}
	pgRefusal := func(text string) string { return pgMessage('E', "C"+text+"\x00M"+text+"\x00\x00") }
	ldapRefusal := func(id int, tag byte) func(string) string {
		return func(text string) string { return string(berTLV(0x30, berInt(id), ldapAnswer(tag, 49, text))) }
	}

	type params = map[string]any
	login := func(more ...any) params {
		m := params{"login": "bob", "password": "hello"}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	request := []string{"> ...", "> ...", "> ...", "> ...", "> "} // HTTP/1.1
	page := play(append(request, "< HTTP/1.1 200 OK", "< Content-Length: 4", "< ", "< OK")...)
	plainPage := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") }
	serving := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, "\x00\x00\x00\x00\x02\x08\x01")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}
	address := &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}
	overTCP := func(answer func([]byte) []byte) func([]byte) []byte {
		return func(in []byte) []byte {
			out := answer(in[2:])
			return append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
		}
	}
	ldapBound := [][]byte{ldapAnswer(ldapBindResponse, 0, "")}
	ldapFound := [][]byte{berTLV(ldapSearchEntry, berString("dc=example"), berTLV(0x30)), ldapAnswer(ldapSearchDone, 0, "")}
	nothing := send("")

	return map[string]row{
		"tcp":                    {kind: "tcp", up: nothing},
		"simpletcp":              {kind: "simpletcp", up: send("x")},
		"simpletcp, match":       {kind: "simpletcp", params: params{"send": `status\r\n`, "contains": "READY"}, up: send("READY\r\n"), refuse: line("BUSY ")},
		"simpletcp, TLS":         {kind: "simpletcp", params: params{"tls": true, "contains": "READY"}, begin: secure, up: send("READY\r\n"), refuse: line("BUSY ")},
		"tls":                    {kind: "tls", params: params{"days": 30}, up: overTLS(nothing)},
		"http":                   {kind: "http", params: params{"path": "/x"}, up: page, refuse: httpError},
		"http, body":             {kind: "http", params: params{"contains": "OK"}, begin: reply(append(request, "< HTTP/1.1 200 OK", "< ")...), up: send("all is OK"), refuse: line("")},
		"http, next":             {kind: "http", params: params{"next": "/b 200 ^OK"}, begin: reply(append(request[1:], "< HTTP/1.1 200 OK", "< Content-Length: 2", "< ", `< hi\`)...), up: page, refuse: httpError},
		"http, NTLM":             {kind: "http", params: login("auth", "ntlm"), begin: reply(append(request, "< HTTP/1.1 401 Who", "< WWW-Authenticate: NTLM "+ntlmChallenge, "< Content-Length: 0", "< ")...), up: play(append([]string{"> ..."}, append(request, "< HTTP/1.1 200 OK", "< Content-Length: 0", "< ")...)...), refuse: httpError},
		"http2":                  {kind: "http", params: params{"http2": true}, up: http2(plainPage)},
		"https":                  {kind: "https", up: overTLS(page)},
		"https, after handshake": {kind: "https", begin: secure, up: page, refuse: httpError},
		"https, http2":           {kind: "https", params: params{"http2": true}, begin: secure, up: http2(plainPage)},
		"http_proxy":             {kind: "http_proxy", params: params{"url": "http://www.example/x"}, up: page, refuse: httpError},
		"http_proxy, CONNECT": {kind: "http_proxy", params: params{"url": "https://www.example/x"},
			up: in(upgraded(append(request, "< HTTP/1.1 200 OK", "< ")...), page), refuse: httpError},
		"http_proxy, connected": {kind: "http_proxy", params: params{"url": "https://www.example/x"}, begin: reply(append(request, "< HTTP/1.1 200 OK", "< ")...), up: overTLS(page)},
		"grpc":                  {kind: "grpc", up: http2(serving)},
		"grpc, TLS":             {kind: "grpc", params: params{"tls": true}, begin: secure, up: http2(serving)},

		"smtp":                   {kind: "smtp", up: play("< 220-mx", "< 220 mx", "> EHLO localhost", "< 250-mx", "< 250 HELP", "> QUIT"), refuse: line("554 ")},
		"smtp, hello":            {kind: "smtp", begin: reply("< 220 mx", "> EHLO localhost"), up: play("< 500 what", "> HELO localhost", "< 250 mx"), refuse: line("554-")},
		"smtp, login":            {kind: "smtp", params: login(), begin: reply("< 220 mx", "> ...", "< 250 mx", "> ..."), up: play("< 235 yes"), refuse: line("535 ")},
		"smtp, STARTTLS":         {kind: "smtp", params: params{"tls": "start"}, begin: upgraded("< 220 mx", "> ...", "< 250 mx", "> ...", "< 220 go"), up: play("> ...", "< 250 mx"), refuse: line("554 ")},
		"submission":             {kind: "submission", params: params{"tls": "start"}, begin: reply("< 220 mx", "> ...", "< 250 mx", "> STARTTLS"), up: in(upgraded("< 220 go"), play("> ...", "< 250 mx")), refuse: line("454 ")},
		"pop3":                   {kind: "pop3", up: play("< +OK", "> QUIT"), refuse: line("-ERR ")},
		"pop3, login":            {kind: "pop3", params: login(), begin: reply("< +OK", "> ...", "< +OK", "> ..."), up: play("< +OK"), refuse: line("-ERR ")},
		"pop3, STLS":             {kind: "pop3", params: params{"tls": "start"}, up: in(upgraded("< +OK", "> STLS", "< +OK"), play("> QUIT"))},
		"pop3s":                  {kind: "pop3s", up: overTLS(play("< +OK"))},
		"pop3s, after handshake": {kind: "pop3s", begin: secure, up: play("< +OK"), refuse: line("-ERR ")},
		"imap":                   {kind: "imap", up: play("< * OK", "> z LOGOUT"), refuse: line("* BYE ")},
		"imap, login":            {kind: "imap", params: login(), begin: reply("< * OK", "> ..."), up: play("< * CAPABILITY IMAP4rev2", "< a1 OK"), refuse: line("a1 NO ")},
		"imap, STARTTLS":         {kind: "imap", params: params{"tls": "start"}, up: in(upgraded("< * OK", "> a1 STARTTLS", "< a1 OK"), play("> z LOGOUT"))},
		"imaps":                  {kind: "imaps", up: overTLS(play("< * OK"))},
		"imaps, after handshake": {kind: "imaps", begin: secure, up: play("< * OK"), refuse: line("* BYE ")},
		"nntp":                   {kind: "nntp", up: play("< 200 news", "> QUIT"), refuse: line("502 ")},
		"ftp":                    {kind: "ftp", up: play("< 220 files", "> ...", "< 331 who", "> ...", "< 230 in", "> QUIT"), refuse: line("421 ")},
		"ftp, login":             {kind: "ftp", params: login(), begin: reply("< 220 files", "> ..."), up: play("< 230 in"), refuse: line("530 ")},
		"ftp, AUTH TLS":          {kind: "ftp", params: params{"tls": "start"}, begin: upgraded("< 220 files", "> AUTH TLS", "< 234 go"), up: play("> ...", "< 230 in"), refuse: line("530 ")},
		"ftp, password":          {kind: "ftp", params: login(), begin: reply("< 220 files", "> ...", "< 331 who", "> ..."), up: play("< 230 in"), refuse: line("530 ")},
		// The data connection reaches the same server: what it sends first is the file.
		"ftp, passive": {kind: "ftp", params: params{"path": "f"}, begin: reply("< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV"),
			up: play("< 229 ok (|||4321|)", "> RETR f", "< 150 here"), refuse: line("425 ")},

		"ldap": {kind: "ldap", up: on(ldapServer(ldapBound)), refuse: ldapRefusal(1, ldapBindResponse)},
		"ldap, search": {kind: "ldap", params: params{"base": "dc=example"}, begin: reads(14, string(berTLV(0x30, berInt(1), ldapAnswer(ldapBindResponse, 0, "")))),
			up: on(ldapServer(ldapFound)), refuse: ldapRefusal(2, ldapSearchDone)},
		"ldap, StartTLS": {kind: "ldap", params: params{"tls": "start"},
			up: in(reads(31, string(berTLV(0x30, berInt(1), ldapAnswer(ldapExtendedAnswer, 0, "")))), overTLS(on(ldapServer(ldapBound))))},
		"ldaps":                  {kind: "ldaps", up: overTLS(on(ldapServer(ldapBound)))},
		"ldaps, after handshake": {kind: "ldaps", begin: secure, up: on(ldapServer(ldapBound)), refuse: ldapRefusal(1, ldapBindResponse)},

		"mysql":        {kind: "mysql", up: send(mysqlHello(mysqlSHA2)), refuse: mysqlError(0)},
		"mysql, login": {kind: "mysql", params: login(), begin: reads(0, mysqlHello(mysqlNative)), up: send(mysqlPacket(2, "\x00\x00\x00")), refuse: mysqlError(2)},
		"mysql, TLS":   {kind: "mysql", params: login("tls", true), up: in(mysqlTLS, overTLS(send(mysqlPacket(3, "\x00\x00\x00"))))},
		"mysql, query": {kind: "mysql", params: login("query", "select 1"), begin: mysqlLogin,
			up: send(mysqlPacket(1, "\x01") + mysqlPacket(2, "def") + mysqlPacket(3, "\xfe\x00\x00") + mysqlPacket(4, "1")), refuse: mysqlError(1)},
		"pgsql":        {kind: "pgsql", up: send(pgAuth(3, "")), refuse: pgRefusal},
		"pgsql, TLS":   {kind: "pgsql", params: params{"tls": true}, up: in(reads(8, "S"), overTLS(send(pgAuth(3, "")))), refuse: line("E")},
		"pgsql, login": {kind: "pgsql", params: login(), begin: reads(8, pgAuth(3, "")), up: send(pgAuth(0, "") + pgMessage('Z', "I")), refuse: pgRefusal},
		"pgsql, query": {kind: "pgsql", params: login("query", "select 1"), begin: reads(8, pgAuth(0, "")+pgMessage('Z', "I")),
			up: send(pgMessage('T', "") + pgMessage('D', "")), refuse: pgRefusal},
		"redis":        {kind: "redis", up: play("< +PONG"), refuse: line("-ERR ")},
		"redis, login": {kind: "redis", params: login(), up: play("< +OK", "< +PONG"), refuse: line("-WRONGPASS ")},
		"redis, TLS":   {kind: "redis", params: params{"tls": true}, begin: secure, up: play("< +PONG"), refuse: line("-ERR ")},

		"sip":        {kind: "sip", up: answer(func([]byte) []byte { return []byte("SIP/2.0 200 OK\r\n\r\n") }), refuse: line("SIP/2.0 503 ")},
		"sip, TCP":   {kind: "sip", params: params{"tcp": true}, up: send("SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\n\r\n"), refuse: line("SIP/2.0 503 ")},
		"dns":        {kind: "dns", up: answer(nameServer(t, 0, nil))},
		"dns, name":  {kind: "dns", params: params{"name": "www.example", "contains": "192.0.2.7"}, up: answer(nameServer(t, 0, nil, address))},
		"dns, TCP":   {kind: "dns", params: params{"tcp": true}, up: answer(overTCP(nameServer(t, 0, nil, address)))},
		"radius":     {kind: "radius", params: login("secret", "s3cret"), up: answer(radiusServer(t, 2, "s3cret"))},
		"udp":        {kind: "udp", up: answer(noAnswer)},
		"udp, reply": {kind: "udp", params: params{"reply": true}, up: answer(func(in []byte) []byte { return in })},
		"udp, match": {kind: "udp", params: params{"contains": "READY"}, up: answer(func([]byte) []byte { return []byte("READY") }), refuse: line("BUSY ")},

		"ping": {kind: "ping", host: func(p []byte) [][]byte { p[0] = 0; return [][]byte{p} }},
		"syn":  {kind: "syn", host: synAck(tcpSYN|tcpACK, 1)},
	}
}

// seed is what a server of a row that is up sends to its check; client is the first
// byte that it gets.
func (r row) seed(t testing.TB, registry *Registry) (sent []byte, client byte) {
	if r.host != nil {
		return nil, 0
	}
	var tape tape
	ctx, cancel := timeout(t, time.Minute)
	defer cancel()
	recorded := r.server(t, func(conn net.Conn) net.Conn { return &recorder{conn, &tape} })
	_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: recorded.dial}, r.params)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(ctx); err != nil {
		t.Errorf("its own server is down: %v", err)
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	if len(tape.got) > 0 {
		client = tape.got[0]
	}
	return tape.sent, client
}

// tape is what a server sent and got, on all its connections.
type tape struct {
	mu        sync.Mutex
	sent, got []byte
}

type recorder struct {
	net.Conn
	*tape
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, p[:n]...)
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// server is the server of a row that is up. wrap may replace its connection.
func (r row) server(t testing.TB, wrap func(net.Conn) net.Conn) server {
	return func(conn net.Conn) {
		conn = wrap(conn)
		if r.begin != nil {
			conn = r.begin(t, conn)
		}
		r.up(t, conn)
		keepOpen(conn)
	}
}

// peer is the server of a row's check: connections are dialed, and replies answers where
// the type uses packet sockets.
func (r row) peer(dial DialFunc, replies func([]byte) [][]byte) Peer {
	p := Peer{Addr: somewhere, Dial: dial}
	if r.host == nil {
		return p
	}
	host := &tcpHost{newICMPHost(replies), &net.IPAddr{IP: somewhere.Addr().AsSlice()}}
	p.Listen = func(string, string) (net.PacketConn, error) { return host, nil }
	p.Dial = sourceAddress
	return p
}

// TestEveryTypeHasARow names the types that rows lacks: those that open a connection.
func TestEveryTypeHasARow(t *testing.T) {
	has := map[string]bool{}
	for name, r := range rows(t) {
		if has[r.kind] = true; r.up == nil && r.host == nil {
			t.Errorf("%s: no server that is up", name)
		}
		if !strings.HasPrefix(name, r.kind) {
			t.Errorf("%s: a name that does not begin with %s", name, r.kind)
		}
	}
	for _, typ := range Builtin() {
		if typ.Transport != "" && !has[typ.Name] {
			t.Errorf("type %s: no row in rows, so no server, no hostile servers and no seed for FuzzAnswers", typ.Name)
		}
	}
}

// What the servers of the rows send is also the seed of FuzzAnswers: a server that is
// up and sends nothing is one that has nothing to fuzz.
func TestEveryRowsServerIsUp(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	for name, r := range rows(t) {
		t.Run(name, func(t *testing.T) {
			if r.host == nil {
				r.seed(t, registry)
				return
			}
			_, c, err := registry.New(r.kind, r.peer(nil, r.host), r.params)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := timeout(t, time.Minute)
			defer cancel()
			if err := c.Check(ctx); err != nil {
				t.Errorf("its own host is down: %v", err)
			}
		})
	}
}
