package health

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// TLS records (RFC 5246 section 6.2) and handshake messages (section 7.4).
const (
	recordAlert        = 21
	recordHandshake    = 22
	messageClientHello = 1
	messageServerHello = 2
	maxRecord          = 1<<14 + 2048
	maxHello           = 4 << 10 // of a ServerHello; a key share may take 1.2 KiB
	versionSSL30       = 0x0300
	supportedVersions  = 43 // extension (RFC 8446 section 4.2.1)
)

var (
	errNoServerHello = errors.New("got something that is not a ServerHello")
	errAlert         = errors.New("server refused")
)

// serverHello is what a server chose.
type serverHello struct{ version, suite uint16 }

// String names version and suite.
func (h *serverHello) String() string {
	return tls.VersionName(h.version) + ", " + suiteName(h.suite)
}

// readServerHello reads a ServerHello of SSL 3.0 to TLS 1.3, to its end. It has to be well
// formed and the first handshake message.
func readServerHello(r io.Reader) (*serverHello, error) {
	messages := handshakeReader{r: r}
	var head [4]byte
	if _, err := io.ReadFull(&messages, head[:]); err != nil {
		return nil, err
	}
	n := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if head[0] != messageServerHello || n > maxHello {
		return nil, errNoServerHello
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(&messages, body); err != nil {
		return nil, err
	}
	return parseServerHello(body)
}

// handshakeReader reads what handshake records carry. It ends at a fatal alert, and skips
// others.
type handshakeReader struct {
	r    io.Reader
	left int // bytes of the record
}

func (h *handshakeReader) Read(p []byte) (int, error) {
	for h.left == 0 {
		var head [5]byte
		if _, err := io.ReadFull(h.r, head[:]); err != nil {
			return 0, err
		}
		n := int(binary.BigEndian.Uint16(head[3:]))
		switch {
		case head[1] != versionSSL30>>8 || n == 0 || n > maxRecord:
			return 0, errNoServerHello
		case head[0] == recordAlert && n == 2:
			var alert [2]byte
			if _, err := io.ReadFull(h.r, alert[:]); err != nil {
				return 0, err
			}
			if alert[0] != 1 { // no warning
				return 0, fmt.Errorf("%w: %w", errAlert, tls.AlertError(alert[1]))
			}
		case head[0] == recordHandshake:
			h.left = n
		default:
			return 0, errNoServerHello
		}
	}
	n, err := h.r.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, err
}

// parseServerHello reads the body of a ServerHello: version, random, session, suite,
// compression and extensions, of which SSL 3.0 has none.
func parseServerHello(b []byte) (*serverHello, error) {
	const fixed = 2 + 32 + 1
	if len(b) < fixed || int(b[fixed-1]) > 32 || len(b) < fixed+int(b[fixed-1])+3 {
		return nil, errNoServerHello
	}
	h := &serverHello{version: binary.BigEndian.Uint16(b)}
	if h.version < versionSSL30 || h.version > tls.VersionTLS12 {
		return nil, errNoServerHello
	}
	b = b[fixed+int(b[fixed-1]):]
	h.suite = binary.BigEndian.Uint16(b)
	if b = b[3:]; len(b) == 0 {
		return h, nil
	}
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		return nil, errNoServerHello
	}
	for b = b[2:]; len(b) > 0; {
		if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b)-4 {
			return nil, errNoServerHello
		}
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if kind == supportedVersions && n == 2 {
			h.version = binary.BigEndian.Uint16(b[4:])
		}
		b = b[4+n:]
	}
	return h, nil
}
