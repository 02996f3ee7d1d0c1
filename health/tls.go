package health

import (
	"cmp"
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

// TLSOptions are the settings of TLS in a check. The zero value accepts any certificate,
// as ldirectord and keepalived do: a check connects to an address, which is rarely in
// the certificate. Unless Verify is set, it also takes what only old servers have: TLS
// 1.0, RSA key exchange, every cipher suite of crypto/tls. A server that crypto/tls
// cannot finish a handshake with is up once it has sent a ServerHello, with a [Remark],
// where the check needs no data of it.
//
// SHA-1 signatures, certificates with a negative serial number and RSA keys below 1024
// bits are up to the program: settings of GODEBUG (tlssha1=1, x509negativeserial=1,
// rsa1024min=0) or of its //go:debug lines, which hold for all of its TLS.
type TLSOptions struct {
	ServerName   string            // SNI, and the name to verify; "" sends none
	Verify       bool              // the certificate must be valid: now, for ServerName, and signed by Roots
	Roots        *x509.CertPool    // authorities for Verify; nil is the host's own store
	Certificates []tls.Certificate // the client's
}

// config returns the configuration of a connection to addr.
func (o *TLSOptions) config(addr netip.Addr, alpn ...string) *tls.Config {
	cfg := &tls.Config{
		ServerName:         o.ServerName,
		InsecureSkipVerify: !o.Verify,
		RootCAs:            o.Roots,
		Certificates:       o.Certificates,
		NextProtos:         alpn,
		MinVersion:         tls.VersionTLS10, // an old server is up too
	}
	if !o.Verify { // there is nothing to protect
		cfg.CipherSuites = everySuite()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = addr.WithZone("").String() // which is verified, but never sent as SNI
	}
	return cfg
}

// named returns o with the name in a Host header as its ServerName, unless it has one.
func (o TLSOptions) named(host string) *TLSOptions {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		o.ServerName = cmp.Or(o.ServerName, host)
	}
	return &o
}

// ReadRoots reads the certificates of authorities from a PEM file. Where the file has
// none it returns an empty pool and an error.
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

// bind binds the keys of o.
func (o *TLSOptions) bind(k *Keys) {
	var cert, key string
	k.String(&o.ServerName, "sni", o.ServerName, "server name to send (SNI) and to verify")
	k.Bool(&o.Verify, "verify", "the certificate must be valid")
	k.Func("ca", "", "PEM file of the authorities for verify; the system's where not given", "a PEM file", func(file string) error {
		var err error
		o.Roots, err = ReadRoots(file)
		return err
	})
	k.String(&cert, "cert", "", "PEM file of a client certificate")
	k.String(&key, "key", "", "PEM file of its key")
	k.Then(func() error {
		if o.Roots != nil && !o.Verify {
			return ParamError{Key: "ca", Problem: "needs verify"}
		}
		if cert == "" && key == "" {
			return nil
		}
		if cert == "" || key == "" {
			return ParamError{Key: "cert", Value: cert, Problem: "cert and key must be given together"}
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return ParamError{Key: "cert", Value: cert, Problem: err.Error()}
		}
		o.Certificates = []tls.Certificate{pair}
		return nil
	})
}

// Security is how a check of a protocol with a command such as STARTTLS uses TLS.
type Security string

// The ways to use TLS.
const (
	Plain    Security = "no"
	StartTLS Security = "start" // by the protocol's command
	Implicit Security = "yes"   // from the first byte (RFC 8314)
)

// bindSecurity binds the key tls and those of o.
func bindSecurity(k *Keys, s *Security, def Security, o *TLSOptions) {
	*s = def
	k.Func("tls", string(def), "whether to use TLS: yes from the first byte, start by the protocol's command such as STARTTLS", "no, yes, start", func(text string) error {
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

// TLS does a handshake, and checks for how long the certificate is valid.
type TLS struct {
	Addr netip.AddrPort
	TLSOptions
	ALPN []string // protocols to offer, of which the server must take one; nil offers none
	// MinValid is for how long the server's certificate must still be valid. 0 is no
	// minimum: without Verify, an expired one is accepted.
	MinValid time.Duration
	Dial     DialFunc
}

// Check does the handshake and closes.
func (c *TLS) Check(ctx context.Context) error {
	return c.reach(ctx, len(c.ALPN) > 0 || c.MinValid > 0, c.check)
}

func (c *TLS) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.startTLS(c.config(c.Addr.Addr(), c.ALPN...)); err != nil {
		return err
	}
	state := s.conn.(*tls.Conn).ConnectionState()
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

// tlsReason is the reason where a handshake failed that offered some protocols by ALPN.
func tlsReason(ctx context.Context, err error, offered []string) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return mismatch("tls", record.RecordHeader[:], "a TLS record")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("tls: %w", netReason(ctx, ctx.Err()))
	}
	if isClosed(err) {
		return errors.New("tls: connection closed in the handshake")
	}
	var remote *net.OpError
	if errors.As(err, &remote) && isRemote(err) {
		if remote.Err.Error() == "tls: no application protocol" { // the alert's own type is private
			return fmt.Errorf("tls: server takes none of %s", strings.Join(offered, ", "))
		}
		return fmt.Errorf("tls: server refused: %s", strings.TrimPrefix(remote.Err.Error(), "tls: "))
	}
	return fmt.Errorf("tls: %w", libraryReason(ctx, err, "tls: "))
}

// TLSType returns the type of [TLS].
func TLSType() Type {
	return Type{Name: "tls", About: "TLS handshake, and the days until the certificate expires", Transport: "tcp", Port: 443,
		Bind: func(k *Keys, p Peer) Checker {
			c := &TLS{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			days := 0
			c.bind(k)
			k.List(&c.ALPN, "alpn", "protocol to offer, of which the server must take one")
			k.Int(&days, "days", 0, 0, 36500, "days for which the certificate must still be valid; 0 is no minimum")
			k.Then(func() error { c.MinValid = time.Duration(days) * 24 * time.Hour; return nil })
			return c
		}}
}
