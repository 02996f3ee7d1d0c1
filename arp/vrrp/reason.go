package vrrp

// Reason says why an advert is not taken. The zero value is that it is taken.
//
// The constants are in the order in which an instance looks, which is keepalived's, so
// that the reason given for an advert that is wrong in several ways is keepalived's
// too.
type Reason uint8

const (
	ReasonNone        Reason = iota // taken
	ReasonNotVRRP                   // neither IP protocol 112 nor an AH before it, or a fragment
	ReasonIPChecksum                // wrong checksum of the IPv4 header
	ReasonLength                    // shorter or longer than its fields say
	ReasonVRID                      // for another virtual router
	ReasonState                     // the instance is not started, or in fault
	ReasonTTL                       // multicast with a TTL other than 255: RFC 9568 §7.1
	ReasonVersion                   // not the instance's version, or neither 2 nor 3
	ReasonSigned                    // with an HMAC trailer, and the instance has no keys
	ReasonUnsigned                  // without an HMAC trailer, and the instance requires one
	ReasonTrailer                   // unknown scheme, or reserved bits set in the HMAC trailer
	ReasonStale                     // time of the HMAC trailer too far from the clock
	ReasonKey                       // no key with the ID in the HMAC trailer
	ReasonHMAC                      // wrong HMAC: another key, or forged
	ReasonReplay                    // HMAC trailer or AH was seen before
	ReasonAuthType                  // authentication type other than 0, 1 and 2
	ReasonAuthDiffers               // authentication type other than the instance's
	ReasonPassword                  // wrong password
	ReasonAH                        // wrong ICV or SPI in the AH
	ReasonInterval                  // version 2 with another interval: RFC 3768 §7.1
	ReasonType                      // not an advertisement
	ReasonChecksum                  // wrong checksum, or of a kind that the instance refuses
	ReasonDestination               // unicast to an instance that uses multicast, or the reverse
	ReasonOwner                     // the instance is the address owner and ignores adverts
	ReasonAddresses                 // other addresses, and the instance refuses that
	ReasonSource                    // unicast, and not from a peer
	ReasonPeerTTL                   // TTL outside the bounds of the peer
	reasons
)

// String says in a few words what is wrong.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown reason"
	}
	return [reasons]string{
		ReasonNone:        "",
		ReasonNotVRRP:     "not VRRP",
		ReasonIPChecksum:  "wrong IP header checksum",
		ReasonLength:      "wrong length",
		ReasonVRID:        "unknown VRID",
		ReasonState:       "instance is not running",
		ReasonTTL:         "TTL is not 255",
		ReasonVersion:     "wrong version",
		ReasonSigned:      "has an HMAC trailer, no key is configured",
		ReasonUnsigned:    "has no HMAC trailer",
		ReasonTrailer:     "malformed HMAC trailer",
		ReasonStale:       "time of the HMAC trailer is outside the window",
		ReasonKey:         "unknown HMAC key",
		ReasonHMAC:        "wrong HMAC",
		ReasonReplay:      "replayed",
		ReasonAuthType:    "unknown authentication type",
		ReasonAuthDiffers: "other authentication type",
		ReasonPassword:    "wrong password",
		ReasonAH:          "wrong AH",
		ReasonInterval:    "other advert interval",
		ReasonType:        "not an advertisement",
		ReasonChecksum:    "wrong checksum",
		ReasonDestination: "unicast and multicast are mixed up",
		ReasonOwner:       "the address owner ignores adverts",
		ReasonAddresses:   "other addresses",
		ReasonSource:      "source is not a peer",
		ReasonPeerTTL:     "TTL is outside the peer's bounds",
	}[r]
}
