package health

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// PgSQL logs in to PostgreSQL and runs a query, which must return a row (frontend
// and backend protocol 3.0): ldirectord's pgsql. Without a Login it is enough that
// the server asks for one.
type PgSQL struct {
	Addr            netip.AddrPort
	Login, Password string // in the clear, by MD5 or by SCRAM-SHA-256, as the server asks
	Database        string // "" means one that is named like Login
	Query           string // "" asks nothing
	TLS             bool   // by SSLRequest; the server must take it
	TLSOptions
	Dial DialFunc
}

const (
	pgVersion    = 3 << 16
	pgSSLRequest = 80877103
	maxPgMessage = 64 << 10
)

// Check logs in and asks as far as it is told to.
func (c *PgSQL) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	p := pgTalk{t}
	if c.TLS {
		if err := p.secure(&c.TLSOptions, c.Addr); err != nil {
			return err
		}
	}
	user := or(c.Login, "golb")
	startup := binary.BigEndian.AppendUint32(nil, pgVersion)
	startup = append(startup, "user\x00"+user+"\x00database\x00"+or(c.Database, user)+"\x00application_name\x00golb\x00\x00"...)
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
	_ = p.send("bye", 'X', nil) // the verdict has fallen
	return nil
}

// pgTalk is a talk in messages: type, length, payload.
type pgTalk struct{ *talk }

func (p pgTalk) secure(o *TLSOptions, addr netip.AddrPort) error {
	if err := p.send("SSLRequest", 0, binary.BigEndian.AppendUint32(nil, pgSSLRequest)); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if err := p.full("SSLRequest", answer); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return wanted("SSLRequest", p.seen(answer), `"S"`)
	}
	return p.startTLS(o.config(addr.Addr(), "postgresql"))
}

// send sends a message; kind 0 is none, as at the start.
func (p pgTalk) send(what string, kind byte, payload []byte) error {
	var m []byte
	if kind != 0 {
		m = append(m, kind)
	}
	m = binary.BigEndian.AppendUint32(m, uint32(4+len(payload)))
	return p.talk.send(what, string(append(m, payload...)))
}

// receive reads a message's type, and its payload unless it is a row, whose
// content is not asked for and may be large. An error of the server is an error.
func (p pgTalk) receive(what string) (kind byte, payload []byte, err error) {
	head := make([]byte, 5)
	if err := p.full(what, head); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] == 'D' {
		return 'D', nil, nil
	}
	if !bytes.ContainsRune([]byte("RESKNZTCIANv"), rune(head[0])) || n < 4 || n > maxPgMessage {
		return 0, nil, wanted(what, p.seen(head), "a PostgreSQL message")
	}
	payload = make([]byte, n-4)
	if err := p.full(what, payload); err != nil {
		return 0, nil, err
	}
	if head[0] == 'E' {
		return 0, nil, pgError(what, payload)
	}
	return head[0], payload, nil
}

// pgServerError is what the server says is wrong, by SQLSTATE.
type pgServerError struct{ what, code, message string }

func (e *pgServerError) Error() string {
	return fmt.Sprintf("%s: got error %s %s", e.what, e.code, quote(e.message))
}

func pgError(what string, payload []byte) error {
	e := &pgServerError{what: what}
	for field := range bytes.SplitSeq(payload, []byte{0}) {
		switch {
		case len(field) > 1 && field[0] == 'C':
			e.code = string(field[1:min(6, len(field))])
		case len(field) > 1 && field[0] == 'M':
			e.message = string(field[1:])
		}
	}
	return e
}

// login answers what the server asks until it is ready for a query.
func (p pgTalk) login(c *PgSQL) error {
	for range 1000 { // parameters, notices
		kind, payload, err := p.receive("login")
		var said *pgServerError
		if c.Login == "" && errors.As(err, &said) && strings.HasPrefix(said.code, "28") {
			return nil // it does not know us, as it should (class 28: invalid authorization)
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
func (p pgTalk) authenticate(c *PgSQL, payload []byte) error {
	if len(payload) < 4 {
		return wanted("login", payload, "an authentication request")
	}
	rest := payload[4:]
	switch method := binary.BigEndian.Uint32(payload); method {
	case 0: // ok
		return nil
	case 3: // password in the clear
		return p.send("login", 'p', []byte(c.Password+"\x00"))
	case 5: // MD5
		inner := md5.Sum([]byte(c.Password + c.Login))
		outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), rest...))
		return p.send("login", 'p', []byte("md5"+hex.EncodeToString(outer[:])+"\x00"))
	case 10: // SASL
		if !bytes.Contains(rest, []byte("SCRAM-SHA-256\x00")) {
			return wanted("login: SASL", rest, "SCRAM-SHA-256")
		}
		return p.scram(c.Password)
	default:
		return fmt.Errorf("login: got authentication method %d, want password, MD5 or SCRAM-SHA-256", method)
	}
}

// scram holds the SASL exchange (section 55.3 of PostgreSQL's manual).
func (p pgTalk) scram(password string) error {
	s := newSCRAM(password)
	first := s.first()
	initial := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
	if err := p.send("login", 'p', append(initial, first...)); err != nil {
		return err
	}
	challenge, err := p.sasl(11)
	if err != nil {
		return err
	}
	final, err := s.final(challenge)
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

// sasl receives the payload of an Authentication message of a kind.
func (p pgTalk) sasl(want uint32) (string, error) {
	kind, payload, err := p.receive("login")
	if err == nil && (kind != 'R' || len(payload) < 4 || binary.BigEndian.Uint32(payload) != want) {
		err = wanted("login: SASL", payload, fmt.Sprintf("message %d", want))
	}
	if err != nil {
		return "", err
	}
	return string(payload[4:]), nil
}

// query wants at least one row.
func (p pgTalk) query(sql string) error {
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

// PgSQLType is the registry's entry of [PgSQL].
func PgSQLType() Type {
	return Type{Name: "pgsql", Also: []string{"postgresql"}, About: "PostgreSQL login, and a query that returns a row", Transport: "tcp", Port: 5432,
		Bind: func(k *Keys, p Peer) Checker {
			c := &PgSQL{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			bindSQL(k, &c.Login, &c.Password, &c.Database, &c.Query)
			k.Bool(&c.TLS, "tls", "TLS, by the protocol's own request")
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
