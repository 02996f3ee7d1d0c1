package health

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/golb/golb/health/printable"
)

// PgSQL logs in to PostgreSQL and runs a query, which must return a row (frontend/backend
// protocol 3.0): ldirectord's pgsql. Without a Login it is enough that the server
// requests one.
type PgSQL struct {
	Addr            netip.AddrPort
	Login, Password string // in the clear, by MD5 or by SCRAM-SHA-256, as the server requests
	Database        string // "" means the one with the name in Login
	Query           string // "" runs none
	TLS             bool   // by SSLRequest; the server must support it
	TLSOptions
	Dial DialFunc
}

const (
	pgVersion    = 3 << 16
	pgSSLRequest = 80877103
	maxPgMessage = 64 << 10
)

// Check logs in and runs the query, as set.
func (c *PgSQL) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "", c.check)
}

func (c *PgSQL) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	p := pgSession{s}
	if c.TLS {
		if err := p.requestTLS(&c.TLSOptions, c.Addr); err != nil {
			return err
		}
	}
	user := cmp.Or(c.Login, "golb")
	startup := binary.BigEndian.AppendUint32(nil, pgVersion)
	startup = append(startup, "user\x00"+user+"\x00database\x00"+cmp.Or(c.Database, user)+"\x00application_name\x00golb\x00\x00"...)
	if err := p.send("login", 0, startup); err != nil {
		return err
	}
	if err := p.login(c); err != nil || c.Login == "" {
		return err
	}
	if c.Query != "" {
		if err := p.query(c.Query); err != nil {
			return err
		}
	}
	_ = p.send("terminate", 'X', nil) // the server has passed: an error changes nothing
	return nil
}

// pgSession is a session of messages: type, length, payload.
type pgSession struct{ *session }

// requestTLS starts TLS by SSLRequest.
func (p pgSession) requestTLS(o *TLSOptions, addr netip.AddrPort) error {
	if err := p.send("SSLRequest", 0, binary.BigEndian.AppendUint32(nil, pgSSLRequest)); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if err := p.readFull("SSLRequest", answer); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return mismatch("SSLRequest", p.withBuffered(answer), `"S"`)
	}
	return p.startTLS(o.config(addr.Addr(), "postgresql"))
}

// send sends a message; kind 0 is a message without a type, as the first ones are.
func (p pgSession) send(what string, kind byte, payload []byte) error {
	var m []byte
	if kind != 0 {
		m = append(m, kind)
	}
	m = binary.BigEndian.AppendUint32(m, uint32(4+len(payload)))
	return p.session.send(what, string(append(m, payload...)))
}

// receive reads a message and returns its type and payload. Of a row, which may be
// large, it reads the head only. An ErrorResponse is an error.
func (p pgSession) receive(what string) (kind byte, payload []byte, err error) {
	head := make([]byte, 5)
	if err := p.readFull(what, head); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] == 'D' {
		return 'D', nil, nil
	}
	if !bytes.ContainsRune([]byte("RESKNZTCIANv"), rune(head[0])) || n < 4 || n > maxPgMessage {
		return 0, nil, mismatch(what, p.withBuffered(head), "a PostgreSQL message")
	}
	payload = make([]byte, n-4)
	if err := p.readFull(what, payload); err != nil {
		return 0, nil, err
	}
	if head[0] == 'E' {
		return 0, nil, pgError(what, payload)
	}
	return head[0], payload, nil
}

// pgServerError is an ErrorResponse; code is the SQLSTATE.
type pgServerError struct{ what, code, message string }

func (e *pgServerError) Error() string {
	return fmt.Sprintf("%s: got error %s %s", e.what, e.code, quote(e.message))
}

func pgError(what string, payload []byte) error {
	e := &pgServerError{what: what}
	for field := range bytes.SplitSeq(payload, []byte{0}) {
		switch {
		case len(field) > 1 && field[0] == 'C':
			e.code = printable.Line(string(field[1:min(6, len(field))]), 5)
		case len(field) > 1 && field[0] == 'M':
			e.message = string(field[1:])
		}
	}
	return e
}

// login does what the server requests until it is ready for a query.
func (p pgSession) login(c *PgSQL) error {
	for range 1000 { // parameters, notices
		kind, payload, err := p.receive("login")
		var refused *pgServerError
		if c.Login == "" && errors.As(err, &refused) && strings.HasPrefix(refused.code, "28") {
			return nil // class 28, invalid authorization: what a server without such a user answers
		}
		switch {
		case err != nil:
			return err
		case kind == 'R' && c.Login == "":
			return nil
		case kind == 'R':
			if err := p.authenticate(c, payload); err != nil {
				return err
			}
		case kind == 'Z':
			return nil
		}
	}
	return errors.New("login: more than 1000 messages")
}

// authenticate answers an Authentication request.
func (p pgSession) authenticate(c *PgSQL, payload []byte) error {
	if len(payload) < 4 {
		return mismatch("login", payload, "an authentication request")
	}
	data := payload[4:]
	switch method := binary.BigEndian.Uint32(payload); method {
	case 0: // ok
		return nil
	case 3: // password in the clear
		return p.send("login", 'p', []byte(c.Password+"\x00"))
	case 5: // MD5
		inner := md5.Sum([]byte(c.Password + c.Login))
		outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), data...))
		return p.send("login", 'p', []byte("md5"+hex.EncodeToString(outer[:])+"\x00"))
	case 10: // SASL
		if !bytes.Contains(data, []byte("SCRAM-SHA-256\x00")) {
			return mismatch("login: SASL", data, "SCRAM-SHA-256")
		}
		return p.scram(c.Password)
	default:
		return fmt.Errorf("login: got authentication method %d, want password, MD5 or SCRAM-SHA-256", method)
	}
}

// scram does the SASL exchange (section 55.3 of PostgreSQL's manual).
func (p pgSession) scram(password string) error {
	s := newSCRAM(password)
	first := s.first()
	initial := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
	if err := p.send("login", 'p', append(initial, first...)); err != nil {
		return err
	}
	serverFirst, err := p.sasl(11)
	if err != nil {
		return err
	}
	final, err := s.final(serverFirst)
	if err != nil {
		return err
	}
	if err := p.send("login", 'p', []byte(final)); err != nil {
		return err
	}
	outcome, err := p.sasl(12)
	if err != nil {
		return err
	}
	return s.verify(outcome)
}

// sasl receives an Authentication message of a kind and returns its payload.
func (p pgSession) sasl(want uint32) (string, error) {
	kind, payload, err := p.receive("login")
	if err == nil && (kind != 'R' || len(payload) < 4 || binary.BigEndian.Uint32(payload) != want) {
		err = mismatch("login: SASL", payload, fmt.Sprintf("message %d", want))
	}
	if err != nil {
		return "", err
	}
	return string(payload[4:]), nil
}

// query runs a query, which must return a row.
func (p pgSession) query(sql string) error {
	if err := p.send("query", 'Q', []byte(sql+"\x00")); err != nil {
		return err
	}
	for range 1000 {
		switch kind, _, err := p.receive("query"); {
		case err != nil:
			return err
		case kind == 'D':
			return nil
		case kind == 'Z':
			return errors.New("query: got no row, want one")
		}
	}
	return errors.New("query: more than 1000 messages")
}

// PgSQLType returns the type of [PgSQL].
func PgSQLType() Type {
	return Type{Name: "pgsql", Also: []string{"postgresql"}, About: "PostgreSQL login, and a query that returns a row", Transport: "tcp", Port: 5432,
		Bind: func(k *Keys, p Peer) Checker {
			c := &PgSQL{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			bindSQL(k, &c.Login, &c.Password, &c.Database, &c.Query)
			k.Bool(&c.TLS, "tls", "use TLS, by the protocol's own request")
			c.bind(k)
			return c
		}}
}

// bindSQL adds the keys of a database.
func bindSQL(k *Keys, login, password, database, query *string) {
	k.Login(login, password)
	k.String(database, "database", "", "database to use")
	k.String(query, "query,request", "", "query that must return a row; none where not given")
	k.Then(func() error {
		if *query != "" && *login == "" {
			return ParamError{Key: "login", Problem: "must be given for a query"}
		}
		return nil
	})
}
