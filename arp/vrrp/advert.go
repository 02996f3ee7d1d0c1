package vrrp

import (
	"net/netip"
	"time"
)

// IP protocols and the sizes of what is in an advert.
const (
	protoVRRP = 112
	protoAH   = 51

	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	headerLen     = 8  // VRRP before the addresses
	authDataLen   = 8  // VRRP 2 after the addresses: RFC 2338 §5.3.10
	ahLen         = 24 // with an ICV of 96 bits: RFC 4302 §2
	trailerLen    = 28

	typeAdvert = 1
	fullTTL    = 255
	tosControl = 0xc0 // internetwork control, as keepalived marks adverts
)

// Where adverts go: RFC 9568 §5.1.1.2, §5.1.2.2.
var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	group6 = netip.MustParseAddr("ff02::12")
)

// OwnerPriority is the priority of a router that has the addresses as its own: RFC 9568
// §5.2.4.
const OwnerPriority = 255

// Checksum says what a checksum of an advert covers beside the message. It is a matter
// of choice for version 3 over IPv4 only: version 2 has no pseudo header, IPv6 has its
// own.
type Checksum uint8

const (
	// ChecksumUnknown, in an advert, is that the checksum is wrong. In a Config it is
	// the one that the peer uses; until a peer is heard ChecksumPseudo.
	ChecksumUnknown Checksum = iota
	ChecksumPlain            // nothing: RFC 3768 §5.3.8, RFC 9568 §5.2.8 for IPv4
	ChecksumPseudo           // a pseudo header: IPv6, keepalived and FRR with IPv4 too
	// ChecksumPseudoMulticast is a pseudo header whose destination is 224.0.0.18 though
	// the advert is unicast: keepalived up to 1.3.6, or with old_unicast_checksum.
	ChecksumPseudoMulticast
)

func (c Checksum) String() string {
	switch c {
	case ChecksumPlain:
		return "plain"
	case ChecksumPseudo:
		return "pseudo"
	case ChecksumPseudoMulticast:
		return "pseudo-multicast"
	}
	return "unknown"
}

// AuthType is the authentication type of VRRP 2: RFC 2338 §5.3.6. RFC 3768 has none but
// AuthNone, VRRP 3 has no such field.
type AuthType uint8

const (
	AuthNone     AuthType = 0
	AuthPassword AuthType = 1 // eight bytes that anybody on the wire can read
	AuthAH       AuthType = 2 // IP authentication header, HMAC-MD5-96
)

// Advert is a VRRP advertisement with the IP header before it.
type Advert struct {
	Src, Dst  netip.Addr
	TTL       uint8  // hop limit of IPv6
	TOS       uint8  // traffic class of IPv6
	ID        uint16 // IPv4 only
	DF        bool   // IPv4 only: do not fragment
	FlowLabel uint32 // IPv6 only, 20 bits
	AH        *AH    // nil if there is none

	Version   uint8
	Type      uint8
	VRID      uint8
	Priority  uint8         // 0: the sender gives up its role
	Interval  time.Duration // between adverts of this sender
	Reserved  uint8         // version 3: the four bits before the interval
	Addresses []netip.Addr
	AuthType  AuthType          // version 2
	AuthData  [authDataLen]byte // version 2
	Sum       uint16            // checksum as it is in the packet
	Checksum  Checksum          // what it covers
	Trailer   *Trailer          // nil if there is none
}

// AH is the IP authentication header (RFC 4302) as VRRP 2 uses it: RFC 2338 §5.3.6.3.
type AH struct {
	SPI uint32 // keepalived's is the source address
	Seq uint32 // grows with each advert
	ICV [12]byte
}

// Trailer is what auth_hmac of keepalived 2.4 adds after an advert. Seconds, Fraction
// and Counter are one number that grows with each advert.
type Trailer struct {
	Scheme   uint8 // 1: HMAC-SHA256, cut to 128 bits
	KeyID    uint8
	Reserved uint16
	Seconds  uint32 // of UTC since 1970
	Fraction uint16 // of a second, in 1/65536
	Counter  uint16 // tells adverts of one time apart
	HMAC     [16]byte
}

func (t *Trailer) seq() uint64 {
	return uint64(t.Seconds)<<32 | uint64(t.Fraction)<<16 | uint64(t.Counter)
}

func (t *Trailer) setSeq(seq uint64) {
	t.Seconds, t.Fraction, t.Counter = uint32(seq>>32), uint16(seq>>16), uint16(seq)
}

// Auth names how the advert is authenticated: none, pass, ah or hmac.
func (a *Advert) Auth() string {
	switch {
	case a.Trailer != nil:
		return "hmac"
	case a.AH != nil:
		return "ah"
	case a.Version == 2 && a.AuthType == AuthPassword:
		return "pass"
	}
	return "none"
}

// VirtualMAC returns the virtual router MAC of a VRID: RFC 9568 §7.3.
func VirtualMAC(vrid uint8, ipv6 bool) [6]byte {
	if ipv6 {
		return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, vrid}
	}
	return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, vrid}
}
