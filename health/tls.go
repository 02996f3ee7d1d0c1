package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// TLSOptions say how a check speaks TLS. The zero value takes any certificate, as
// ldirectord and keepalived do: a server is checked by address, which is rarely a
// name in its certificate.
type TLSOptions struct {
	ServerName   string            // SNI, and the name to verify; "" sends none
	Verify       bool              // the certificate must be valid, now and for ServerName
	Roots        *x509.CertPool    // who may sign it; nil is the host's own store
	Certificates []tls.Certificate // the client's
}

// config is the configuration for a connection to addr.
func (o *TLSOptions) config(addr netip.Addr, alpn ...string) *tls.Config {
	cfg := &tls.Config{
		ServerName:         o.ServerName,
		InsecureSkipVerify: !o.Verify,
		RootCAs:            o.Roots,
		Certificates:       o.Certificates,
		NextProtos:         alpn,
		MinVersion:         tls.VersionTLS10, // a check of an old server is no reason to fail it
	}
	if cfg.ServerName == "" {
		cfg.ServerName = addr.WithZone("").String() // an address is verified, never sent
	}
	return cfg
}

// named is o with the name in host, a Host header, as ServerName where o has none.
func (o TLSOptions) named(host string) *TLSOptions {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		o.ServerName = or(o.ServerName, host)
	}
	return &o
}

// ReadRoots reads a file of PEM certificates that may sign others. It fails where the
// file cannot be read, and, with an empty pool, where none is in it.
func ReadRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return roots, errors.New("no certificate in it")
	}
	return roots, nil
}

// bind adds the keys of o.
func (o *TLSOptions) bind(k *Keys) {
	var cert, key string
	k.String(&o.ServerName, "sni", o.ServerName, "server name to ask for, and to verify")
	k.Bool(&o.Verify, "verify", "fail where the certificate is not valid")
	k.Func("ca", "", "file of PEM certificates that may sign the server's; default is the system's", "a PEM file", func(file string) error {
		var err error
		o.Roots, err = ReadRoots(file)
		return err
	})
	k.String(&cert, "cert", "", "file of the client's PEM certificate")
	k.String(&key, "key", "", "file of the client's PEM key")
	k.Then(func() error {
		if o.Roots != nil && !o.Verify {
			return ParamError{Key: "ca", Problem: "is of no use without verify"}
		}
		if cert == "" && key == "" {
			return nil
		}
		if cert == "" || key == "" {
			return ParamError{Key: "cert", Value: cert, Problem: "cert and key go together"}
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return ParamError{Key: "cert", Value: cert, Problem: err.Error()}
		}
		o.Certificates = []tls.Certificate{pair}
		return nil
	})
}

// Security is how a check of a protocol that has both uses TLS.
type Security string

// The ways to use TLS.
const (
	Plain    Security = "no"
	StartTLS Security = "start" // the protocol's own command upgrades the connection
	Implicit Security = "yes"   // from the first byte
)

// bindSecurity adds the key tls and those of o.
func bindSecurity(k *Keys, s *Security, def Security, o *TLSOptions) {
	*s = def
	k.Func("tls", string(def), "TLS: not, from the first byte, or by the protocol's own command", "no, yes, start", func(text string) error {
		switch Security(text) {
		case Plain, Implicit, StartTLS:
			*s = Security(text)
		case "true": // what YAML may make of yes
			*s = Implicit
		case "false":
			*s = Plain
		default:
			return errNotAllowed
		}
		return nil
	})
	o.bind(k)
}

// TLS checks that a handshake succeeds, and how long the certificate is valid.
type TLS struct {
	Addr netip.AddrPort
	TLSOptions
	ALPN []string // protocols to offer; where any is given the server must take one
	// MinValid is for how long the server's certificate must still be valid; 0 asks
	// nothing, not even that it is valid now, unless Verify is set.
	MinValid time.Duration
	Dial     DialFunc
}

// Check shakes hands and closes.
func (c *TLS) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.startTLS(c.config(c.Addr.Addr(), c.ALPN...)); err != nil {
		return err
	}
	state := t.conn.(*tls.Conn).ConnectionState()
	if len(c.ALPN) > 0 && state.NegotiatedProtocol == "" {
		return fmt.Errorf("tls: server takes none of %s", strings.Join(c.ALPN, ", "))
	}
	if c.MinValid == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	left := time.Until(leaf.NotAfter)
	const day = 24 * time.Hour
	if left < 0 {
		return fmt.Errorf("tls: certificate expired %s, %d days ago", leaf.NotAfter.Format(time.DateOnly), -left/day)
	}
	if left < c.MinValid {
		return fmt.Errorf("tls: certificate expires %s, in %d days, want %d", leaf.NotAfter.Format(time.DateOnly), left/day, c.MinValid/day)
	}
	return nil
}

// tlsReason says in one line why a handshake, which offered some protocols, failed.
func tlsReason(ctx context.Context, err error, offered []string) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return wanted("tls", record.RecordHeader[:], "a TLS record")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("tls: %w", plain(ctx, ctx.Err()))
	}
	if isClosed(err) {
		return errors.New("tls: connection closed in the handshake")
	}
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		if remote.Err.Error() == "tls: no application protocol" { // the alert's own type is private
			return fmt.Errorf("tls: server takes none of %s", strings.Join(offered, ", "))
		}
		return fmt.Errorf("tls: server refused: %s", strings.TrimPrefix(remote.Err.Error(), "tls: "))
	}
	return fmt.Errorf("tls: %s", strings.TrimPrefix(plain(ctx, err).Error(), "tls: "))
}

// TLSType is the registry's entry of [TLS].
func TLSType() Type {
	return Type{Name: "tls", About: "TLS handshake, and days until the certificate expires", Transport: "tcp", Port: 443,
		Bind: func(k *Keys, p Peer) Checker {
			c := &TLS{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			days := 0
			c.bind(k)
			k.List(&c.ALPN, "alpn", "protocol to offer; the server must take one")
			k.Int(&days, "days", 0, 0, 36500, "days for which the certificate must still be valid; 0 asks nothing")
			k.Then(func() error { c.MinValid = time.Duration(days) * 24 * time.Hour; return nil })
			return c
		}}
}
