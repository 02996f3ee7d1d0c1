package forward

// Reason is why a frame is not forwarded, or an operation not done. None means
// that nothing stands against it. Each reason is worth one counter: index an
// array of NumReasons with it.
type Reason uint8

// The reasons of this package. Those that need a table, a service or a
// neighbour belong to the caller.
const (
	None               Reason = iota
	TooShort                  // shorter than Ethernet header and network header
	NotIP                     // EtherType other than IPv4 or IPv6, VLAN tags among them
	BadIPHeader               // version, header length
	BadIPChecksum             // IPv4 header checksum (RFC 1122 §3.2.1.2)
	BadLength                 // IP or UDP length field against the bytes that are there
	BadExtensionHeader        // IPv6 extension header cut short, too many, out of place, or source routed
	BadL4Header               // transport header cut short or impossible
	BadOffload                // offload header that contradicts the packet
	BadFragment               // empty, not a multiple of 8 bytes, or beyond 65535
	BadICMPChecksum           // ICMP message whose checksum is wrong
	BadEmbedded               // ICMP error whose quoted packet names no connection
	NoHeadroom                // no room in the frame's buffer for a tunnel header
	TooLong                   // result would exceed 65535 bytes
	FragmentedSCTP            // SCTP CRC32c spans fragments that are not all there
	FragmentOverlap           // fragment of a datagram that had overlapping fragments (RFC 5722)
	FragmentQueued            // not lost: waits for its datagram's first fragment
	FragmentQueueFull         // later fragment found no memory to wait in
	FragmentDuplicate         // later fragment that has been here before
	FamilyMismatch            // NAT to an address of the other family
	NotFragmentable           // Don't Fragment is set, or an MTU that leaves no room for payload
	NumReasons                // how many there are
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
