package forward

// Reason is why a frame is not forwarded, or an operation failed. None means success.
// Reasons are small integers, so that an array of NumReasons counters can be indexed
// with one.
type Reason uint8

// The reasons of this package. A caller adds its own for what it decides itself, such as
// "no service" or "next hop unknown".
const (
	None               Reason = iota // success
	TooShort                         // shorter than Ethernet header and network header
	NotIP                            // EtherType other than IPv4 or IPv6; VLAN-tagged frames are among them
	BadIPHeader                      // version or header length is wrong
	BadIPChecksum                    // IPv4 header checksum is wrong (RFC 1122 §3.2.1.2)
	BadLength                        // IP or UDP length field contradicts the length of the frame
	BadExtensionHeader               // IPv6 extension header cut short, too many, out of place, or source routed
	BadL4Header                      // transport header cut short or impossible
	BadOffload                       // offload header that contradicts the packet
	BadFragment                      // fragment that is empty, not a multiple of 8 bytes long, or ends after byte 65535
	BadICMPChecksum                  // ICMP message whose checksum is wrong
	BadEmbedded                      // ICMP error whose quoted packet names no connection
	NoHeadroom                       // no room before the frame for what it grows by
	TooLong                          // result would be longer than 65535 bytes
	FragmentedSCTP                   // new port in an SCTP fragment: its CRC32c covers all fragments
	FragmentOverlap                  // fragment of a datagram that had overlapping fragments (RFC 5722)
	FragmentQueued                   // not a drop: later fragment that waits for the first one
	FragmentQueueFull                // no memory for a later fragment to wait in, or too many gaps in its datagram
	FragmentDuplicate                // later fragment that has passed before
	FamilyMismatch                   // addresses of different families
	NotFragmentable                  // Don't Fragment is set, or the MTU leaves no room for payload
	NumReasons                       // number of reasons
)

// String returns the reason's name in snake_case, as metrics use it.
func (r Reason) String() string {
	switch r {
	case None:
		return "none"
	case TooShort:
		return "too_short"
	case NotIP:
		return "not_ip"
	case BadIPHeader:
		return "bad_ip_header"
	case BadIPChecksum:
		return "bad_ip_checksum"
	case BadLength:
		return "bad_length"
	case BadExtensionHeader:
		return "bad_extension_header"
	case BadL4Header:
		return "bad_l4_header"
	case BadOffload:
		return "bad_offload"
	case BadFragment:
		return "bad_fragment"
	case BadICMPChecksum:
		return "bad_icmp_checksum"
	case BadEmbedded:
		return "bad_embedded"
	case NoHeadroom:
		return "no_headroom"
	case TooLong:
		return "too_long"
	case FragmentedSCTP:
		return "fragmented_sctp"
	case FragmentOverlap:
		return "fragment_overlap"
	case FragmentQueued:
		return "fragment_queued"
	case FragmentQueueFull:
		return "fragment_queue_full"
	case FragmentDuplicate:
		return "fragment_duplicate"
	case FamilyMismatch:
		return "family_mismatch"
	case NotFragmentable:
		return "not_fragmentable"
	}
	return "unknown"
}
