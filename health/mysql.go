package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MySQL logs in to MySQL or MariaDB and runs a query, which must return a row:
// ldirectord's mysql. Without a Login the server's greeting is enough; but a server
// counts connections that do not log in as errors, and may refuse this host after
// max_connect_errors of them.
type MySQL struct {
	Addr            netip.AddrPort
	Login, Password string // by mysql_native_password or caching_sha2_password, as the server requests
	Database        string // "" uses none
	Query           string // "" runs none
	TLS             bool   // by the protocol's SSLRequest; the server must support it
	TLSOptions
	Dial DialFunc
}

// Capabilities (mysql's Protocol::Handshake).
const (
	mysqlLongPassword = 1 << 0
	mysqlWithDatabase = 1 << 3
	mysqlProtocol41   = 1 << 9
	mysqlSSL          = 1 << 11
	mysqlSecure       = 1 << 15
	mysqlPluginAuth   = 1 << 19

	mysqlUTF8      = 33 // collation utf8_general_ci, known to every version
	maxMySQLPacket = 64 << 10
)

// Check logs in and runs the query, as set.
func (c *MySQL) Check(ctx context.Context) error {
	return c.reach(ctx, true, c.check)
}

func (c *MySQL) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	m := &mysqlSession{session: s}
	packet, err := m.receive("greeting")
	if err != nil {
		return err
	}
	greeting, err := parseMySQLGreeting(packet)
	if err != nil || c.Login == "" {
		return err
	}
	if err := m.login(c, greeting); err != nil {
		return err
	}
	if c.Query != "" {
		if err := m.query(c.Query); err != nil {
			return err
		}
	}
	m.seq = 0
	_ = m.send("quit", []byte{1}) // COM_QUIT; the server has passed: an error changes nothing
	return nil
}

// mysqlSession is a session of packets: length, sequence number, payload.
type mysqlSession struct {
	*session
	seq byte
}

func (m *mysqlSession) send(what string, payload []byte) error {
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), m.seq}
	m.seq++
	return m.session.send(what, string(append(head, payload...)))
}

// head reads the head of a packet and returns the length of its payload.
func (m *mysqlSession) head(what string, most int) (n int, err error) {
	head := make([]byte, 4)
	if err := m.readFull(what, head); err != nil {
		return 0, err
	}
	n = int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if n == 0 || n > most || head[3] != m.seq {
		return 0, mismatch(what, m.withBuffered(head), "a MySQL packet")
	}
	m.seq++
	return n, nil
}

// receive reads a packet. An ERR packet is an error.
func (m *mysqlSession) receive(what string) ([]byte, error) {
	n, err := m.head(what, maxMySQLPacket)
	if err != nil {
		return nil, err
	}
	return m.payload(what, n)
}

// payload reads n bytes.
func (m *mysqlSession) payload(what string, n int) ([]byte, error) {
	payload := make([]byte, n)
	if err := m.readFull(what, payload); err != nil {
		return nil, err
	}
	if payload[0] == 0xff && n >= 3 {
		text := payload[3:]
		if len(text) >= 6 && text[0] == '#' {
			text = text[6:] // SQLSTATE
		}
		return nil, fmt.Errorf("%s: got error %d %s", what, binary.LittleEndian.Uint16(payload[1:]), quote(text))
	}
	return payload, nil
}

// mysqlGreeting is the server's first packet (Protocol::HandshakeV10).
type mysqlGreeting struct {
	capabilities uint32
	salt         []byte
	plugin       string
}

func parseMySQLGreeting(p []byte) (g mysqlGreeting, err error) {
	fail := mismatch("greeting", p, "a MySQL handshake, version 10")
	end := bytes.IndexByte(p, 0)
	if p[0] != 10 || end < 0 || len(p) < end+1+4+8+1+2 {
		return g, fail
	}
	p = p[end+1+4:] // thread number
	g.salt = append(g.salt, p[:8]...)
	g.capabilities = uint32(binary.LittleEndian.Uint16(p[9:]))
	if p = p[11:]; len(p) < 1+2+2+1+10+13 {
		return g, fail
	}
	g.capabilities |= uint32(binary.LittleEndian.Uint16(p[3:])) << 16
	tail := p[16:]
	n := min(max(13, int(p[5])-8), len(tail))
	g.salt = append(g.salt, bytes.TrimRight(tail[:n], "\x00")...)
	g.plugin = string(bytes.TrimRight(tail[n:], "\x00"))
	if g.capabilities&mysqlProtocol41 == 0 || g.capabilities&mysqlSecure == 0 || len(g.salt) != 20 {
		return g, fail
	}
	return g, nil
}

// login sends Protocol::HandshakeResponse41 and does what the server requests.
func (m *mysqlSession) login(c *MySQL, g mysqlGreeting) error {
	caps := uint32(mysqlLongPassword | mysqlProtocol41 | mysqlSecure | mysqlPluginAuth)
	if c.Database != "" {
		caps |= mysqlWithDatabase
	}
	if c.TLS {
		caps |= mysqlSSL
	}
	head := binary.LittleEndian.AppendUint32(nil, caps)
	head = binary.LittleEndian.AppendUint32(head, maxMySQLPacket)
	head = append(head, mysqlUTF8)
	head = append(head, make([]byte, 23)...)
	if c.TLS {
		if g.capabilities&mysqlSSL == 0 {
			return fmt.Errorf("tls: server does not offer it")
		}
		if err := m.send("tls", head); err != nil {
			return err
		}
		if err := m.startTLS(c.config(c.Addr.Addr())); err != nil {
			return err
		}
	}
	proof, err := mysqlProof(g.plugin, c.Password, g.salt)
	if err != nil { // the server's default method may not be the user's: it sends another request
		g.plugin, proof = mysqlNative, nil
	}
	p := append(head, c.Login+"\x00"...)
	p = append(append(p, byte(len(proof))), proof...)
	if c.Database != "" {
		p = append(p, c.Database+"\x00"...)
	}
	p = append(p, g.plugin+"\x00"...)
	if err := m.send("login", p); err != nil {
		return err
	}
	return m.authenticate(c.Password, g.plugin, g.salt)
}

// authenticate does what the server requests until it sends OK.
func (m *mysqlSession) authenticate(password, plugin string, salt []byte) error {
	for range 5 {
		p, err := m.receive("login")
		if err != nil {
			return err
		}
		switch {
		case p[0] == 0:
			return nil
		case p[0] == 0xfe: // AuthSwitchRequest
			name, newSalt, _ := bytes.Cut(p[1:], []byte{0})
			plugin, salt = string(name), bytes.TrimRight(newSalt, "\x00")
			proof, err := mysqlProof(plugin, password, salt)
			if err != nil {
				return err
			}
			err = m.send("login", proof)
			if err != nil {
				return err
			}
		case p[0] == 1 && plugin == mysqlSHA2 && len(p) == 2 && p[1] == 3: // fast authentication succeeded
		case p[0] == 1 && plugin == mysqlSHA2 && len(p) == 2 && p[1] == 4: // full authentication
			if err := m.fullPassword(password, salt); err != nil {
				return err
			}
		default:
			return mismatch("login", p, "OK")
		}
	}
	return fmt.Errorf("login: more than 5 requests")
}

// fullPassword sends the password: over TLS in the clear, else encrypted with the
// server's public key.
func (m *mysqlSession) fullPassword(password string, salt []byte) error {
	if _, secure := m.conn.(*tls.Conn); secure {
		return m.send("login", []byte(password+"\x00"))
	}
	if err := m.send("login", []byte{2}); err != nil { // request for the key
		return err
	}
	p, err := m.receive("login: public key")
	if err != nil {
		return err
	}
	sealed, err := mysqlSeal(p[1:], password, salt)
	if err != nil {
		return err
	}
	return m.send("login", sealed)
}

// query runs a query, which must return a row.
func (m *mysqlSession) query(sql string) error {
	m.seq = 0
	if err := m.send("query", append([]byte{3}, sql...)); err != nil { // COM_QUERY
		return err
	}
	p, err := m.receive("query")
	if err != nil {
		return err
	}
	switch p[0] {
	case 0: // OK: a statement without rows
		return fmt.Errorf("query: got no row, want one")
	case 0xfb: // LOCAL INFILE
		return fmt.Errorf("query: server requests a file of this host")
	}
	eof := func(p []byte) bool { return p[0] == 0xfe && len(p) < 9 }
	for !eof(p) { // columns
		if p, err = m.receive("query"); err != nil {
			return err
		}
	}
	const most = 1<<24 - 1 // of a row, which may be large and is not read
	n, err := m.head("query", most)
	if err != nil || n > maxMySQLPacket {
		return err
	}
	if p, err = m.payload("query", n); err != nil {
		return err
	}
	if eof(p) {
		return fmt.Errorf("query: got no row, want one")
	}
	return nil
}

// MySQLType returns the type of [MySQL].
func MySQLType() Type {
	return Type{Name: "mysql", Also: []string{"mariadb"}, About: "MySQL or MariaDB login, and a query that returns a row", Transport: "tcp", Port: 3306,
		Bind: func(k *Keys, p Peer) Checker {
			c := &MySQL{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			bindSQL(k, &c.Login, &c.Password, &c.Database, &c.Query)
			k.Bool(&c.TLS, "tls", "use TLS, by the protocol's own request")
			c.bind(k)
			return c
		}}
}
