package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// tlsTry is how a check begins TLS.
type tlsTry uint8

const (
	tryAll   tlsTry = iota // all that crypto/tls has
	tryOld                 // no TLS 1.3 and its long key share, which some old servers do not take
	tryHello               // what crypto/tls does not have; the ServerHello ends it
)

// tlsTryKey is the context's key of the tlsTry of a check.
type tlsTryKey struct{}

// handshakeError is the reason where a handshake was not finished.
type handshakeError struct {
	reason  error
	refused bool         // the server does not like what is offered, or ends the connection
	hello   *serverHello // where the server went on, and crypto/tls did not; else nil
}

func (e *handshakeError) Error() string { return e.reason.Error() }
func (e *handshakeError) Unwrap() error { return e.reason }

// unfinished says how far a handshake came.
func (e *handshakeError) unfinished() string {
	return fmt.Sprintf("TLS handshake not finished: server chose %s (%s)", e.hello, strings.TrimPrefix(e.Error(), "tls: "))
}

// errNotOurs is the reason where a ServerHello was all that was wanted.
var errNotOurs = errors.New("beyond Go's crypto/tls")

// reach makes a check of a server that may be too old for crypto/tls: where that offers
// nothing that the server has, others are tried, each on a connection of its own. A server
// that says what it chose is up, unless the check needs data of it or verifies it.
func (o *TLSOptions) reach(ctx context.Context, needsData bool, check func(context.Context) error) error {
	first := check(ctx)
	var failed *handshakeError
	if o.Verify || !errors.As(first, &failed) {
		return first
	}
	for try := tryOld; failed.refused && try <= tryHello; try++ {
		err := check(context.WithValue(ctx, tlsTryKey{}, try))
		if errors.As(err, &failed) {
			continue
		}
		if try == tryHello { // it could not connect again
			return first
		}
		return err
	}
	switch {
	case failed.hello == nil:
		return first
	case needsData:
		return fmt.Errorf("%s; the check needs it", failed.unfinished())
	}
	Remark(ctx, failed.unfinished()+"; counted as up")
	return nil
}

// handshake does a handshake on conn.
func (s *session) handshake(conn net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	conn = s.limit(conn)
	try, _ := s.ctx.Value(tlsTryKey{}).(tlsTry)
	if try == tryHello {
		return nil, s.sayHello(conn, cfg)
	}
	if try == tryOld {
		cfg.MaxVersion, cfg.CurvePreferences = tls.VersionTLS12, []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	seen := &firstBytes{Conn: conn}
	secure := tls.Client(seen, cfg)
	err := secure.HandshakeContext(s.ctx)
	if err == nil {
		return secure, nil
	}
	failed := &handshakeError{reason: tlsReason(s.ctx, err, cfg.NextProtos)}
	ended := s.limited.readError() != nil || isRemote(err)
	switch hello, _ := readServerHello(bytes.NewReader(seen.read)); {
	case s.ctx.Err() != nil:
	case hello == nil:
		failed.refused = isRemote(err) || isClosed(err) || errors.Is(err, syscall.ECONNRESET)
	case !ended:
		failed.hello = hello
	}
	return nil, failed
}

// sayHello sends an old ClientHello, and returns what came of it.
func (s *session) sayHello(conn net.Conn, cfg *tls.Config) error {
	if _, err := conn.Write(oldHello(cfg)); err != nil {
		return &handshakeError{reason: s.wrap("tls", err)}
	}
	hello, err := readServerHello(conn)
	if err != nil {
		return &handshakeError{reason: s.wrap("tls", err)}
	}
	return &handshakeError{reason: errNotOurs, hello: hello}
}

// isRemote reports whether an error of crypto/tls is a fatal alert of the server.
func isRemote(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// firstBytes keeps the first bytes that are read of a connection, among them the
// ServerHello.
type firstBytes struct {
	net.Conn
	read []byte
}

func (c *firstBytes) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if room := maxHello - len(c.read); room > 0 {
		c.read = append(c.read, p[:min(n, room)]...)
	}
	return n, err
}
