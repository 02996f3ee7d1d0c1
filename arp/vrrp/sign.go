package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
)

// schemeSHA256 is the one scheme of an HMAC trailer: HMAC-SHA256, cut to 128 bits.
const schemeSHA256 = 1

// SignHMAC puts the HMAC into the trailer, of whose other fields it is made, with the
// source address and the message. It is the same for all destinations.
func (a *Advert) SignHMAC(secret []byte) { a.Trailer.HMAC = a.hmac(secret) }

// hmac computes what the HMAC in the trailer must be. It covers a pseudo header, the
// message with checksum zero, and the trailer with HMAC zero.
func (a *Advert) hmac(secret []byte) [16]byte {
	unsigned := *a
	trailer := *a.Trailer
	trailer.HMAC = [16]byte{}
	unsigned.Trailer = &trailer
	m := unsigned.appendMessage(nil)
	m[6], m[7] = 0, 0

	pseudo := [20]byte{4, a.Version, a.VRID}
	if a.Src.Is6() {
		pseudo[0] = 6
	}
	copy(pseudo[4:], a.Src.AsSlice())
	h := hmac.New(sha256.New, secret)
	h.Write(pseudo[:])
	h.Write(m)
	return [16]byte(h.Sum(nil))
}

// SignAH puts the ICV into the AH. It covers the IP header, so it differs by
// destination.
func (a *Advert) SignAH(password [authDataLen]byte) { a.AH.ICV = a.icv(password) }

// icv computes what the ICV in the AH must be: HMAC-MD5-96 (RFC 2403) over the packet
// with the mutable fields of its IP header zero (RFC 4302 §3.3.3.1.1). Of the TTL
// keepalived takes only that of unicast to be mutable.
func (a *Advert) icv(password [authDataLen]byte) [12]byte {
	unsigned := *a
	ah := *a.AH
	ah.ICV = [12]byte{}
	unsigned.AH, unsigned.TOS, unsigned.DF = &ah, 0, false
	if !a.Dst.IsMulticast() {
		unsigned.TTL = 0
	}
	p := unsigned.Append(nil)
	p[10], p[11] = 0, 0
	h := hmac.New(md5.New, password[:])
	h.Write(p)
	return [12]byte(h.Sum(nil))
}
