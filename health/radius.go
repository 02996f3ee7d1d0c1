package health

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// RADIUS sends an Access-Request with a name and password and expects Access-Accept (RFC
// 2865): ldirectord's radius. The request has a Message-Authenticator (RFC 3579 section
// 3.2), which servers require since the Blast-RADIUS attack.
type RADIUS struct {
	Addr            netip.AddrPort
	Login, Password string
	Secret          string // shared with the server
	Dial            DialFunc
}

// RADIUS codes and attributes (RFC 2865 sections 3 and 5).
const (
	radiusRequest = 1
	radiusAccept  = 2

	radiusUserName      = 1
	radiusUserPassword  = 2
	radiusNASIdentifier = 32
	radiusAuthenticator = 80
	radiusHeader        = 20

	// RFC 5080 section 2.2.1: IRT and MRT.
	radiusInitial = 2 * time.Second
	radiusMax     = 16 * time.Second
)

// Check sends the request, again until there is an answer.
func (c *RADIUS) Check(ctx context.Context) error {
	const what = "Access-Request"
	request := c.request()
	answer, err := exchangeDatagram(ctx, c.Dial, c.Addr, what, request, retransmission{radiusInitial, radiusMax})
	if errors.Is(err, errTimeout) { // RFC 2865 section 3: a server discards silently what it cannot verify
		return fmt.Errorf("%w: the server is down, or does not know this host or its secret", err)
	}
	if err != nil {
		return err
	}
	if len(answer) < radiusHeader || int(binary.BigEndian.Uint16(answer[2:])) > len(answer) || binary.BigEndian.Uint16(answer[2:]) < radiusHeader {
		return mismatch(what, answer, "a RADIUS packet")
	}
	answer = answer[:binary.BigEndian.Uint16(answer[2:])]
	// RFC 2865 section 3: MD5 of code, identifier, length, the request's
	// authenticator, attributes and the secret.
	h := md5.New()
	h.Write(answer[:4])
	h.Write(request[4:radiusHeader])
	h.Write(answer[radiusHeader:])
	h.Write([]byte(c.Secret))
	if answer[1] != request[1] || !bytes.Equal(h.Sum(nil), answer[4:radiusHeader]) {
		return fmt.Errorf("%s: got an answer that is not signed with the secret", what)
	}
	if answer[0] != radiusAccept {
		names := map[byte]string{3: "Access-Reject", 11: "Access-Challenge"}
		return fmt.Errorf("%s: got %s (%d), want Access-Accept", what, cmp.Or(names[answer[0]], "code"), answer[0])
	}
	return nil
}

func (c *RADIUS) request() []byte {
	p := make([]byte, radiusHeader, 256)
	_, _ = rand.Read(p[1:radiusHeader]) // never fails; identifier and authenticator
	p[0] = radiusRequest
	attribute := func(kind byte, value []byte) {
		p = append(append(p, kind, byte(2+len(value))), value...)
	}
	attribute(radiusUserName, []byte(c.Login))
	attribute(radiusUserPassword, hidePassword(c.Password, c.Secret, p[4:radiusHeader]))
	attribute(radiusNASIdentifier, []byte("golb"))
	attribute(radiusAuthenticator, make([]byte, md5.Size)) // zero while it is computed
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	mac := hmac.New(md5.New, []byte(c.Secret))
	mac.Write(p)
	copy(p[len(p)-md5.Size:], mac.Sum(nil))
	return p
}

// hidePassword encrypts as in RFC 2865 section 5.2: each block of 16 bytes, zero padded, is
// XORed with the MD5 of the secret and the block before, the first with the
// authenticator.
func hidePassword(password, secret string, authenticator []byte) []byte {
	n := max(1, (len(password)+15)/16) * 16
	hidden := make([]byte, n)
	copy(hidden, password)
	before := authenticator
	for block := hidden; len(block) > 0; block = block[16:] {
		sum := md5.Sum(append([]byte(secret), before...))
		for i := range 16 {
			block[i] ^= sum[i]
		}
		before = block[:16]
	}
	return hidden
}

// RADIUSType returns the type of [RADIUS].
func RADIUSType() Type {
	return Type{Name: "radius", About: "RADIUS Access-Request, sent again after 2 s, 6 s, ...", Transport: "udp", Port: 1812,
		Bind: func(k *Keys, p Peer) Checker {
			c := &RADIUS{Addr: p.Addr, Dial: p.Dial}
			k.Login(&c.Login, &c.Password)
			k.Secret(&c.Secret, "secret", "secret shared with the server")
			k.Then(func() error {
				if len(c.Login) > 253 || len(c.Password) > 128 {
					return ParamError{Key: "login", Problem: "login longer than 253 or password longer than 128 bytes"}
				}
				return nil
			})
			return c
		}}
}
