package dataplane

import (
	"fmt"

	"github.com/golb/golb/forward"
)

// Reason is why a frame was not forwarded. Those of package forward, about what
// the frame is, come first; then those about what golb does with it.
type Reason uint8

// forwarded means that the frame is to be sent through frame.Port.
const forwarded = Reason(forward.None)

// The reasons that are not in the frame itself.
const (
	NotVIP          = Reason(forward.NumReasons) + iota // neither to a VIP nor from a server
	NoService                                           // to a VIP, but no service has the port
	NoServer                                            // the scheduler found no server
	NoConnection                                        // a segment of no connection, not its first
	NoNeighbor                                          // the next hop's MAC is not known (yet)
	ServerGone                                          // of a connection whose server was removed
	TableFull                                           // no room for a new connection
	TTLExceeded                                         // TTL or hop limit used up
	MTUExceeded                                         // longer than the MTU to the server
	HopByHop                                            // IPv6 with hop-by-hop options, other than into a tunnel: a Linux director drops it too
	RateLimited                                         // a new connection beyond max_conn_rate or max_client_conn_rate
	PingRateLimited                                     // an echo request beyond answer_rate
	PageRateLimited                                     // a segment to the fallback page beyond answer_rate, or beyond its client's share
	BadPing                                             // an echo request whose checksum is wrong, or that is not whole
	BadPageSYN                                          // a SYN to the fallback page with a wrong checksum, in fragments, or to a group address
	NoCallID                                            // to a service with persistence by Call-ID, without one
	NotAdmitted                                         // a new connection that Env.Admit refused
	ICMPNotBelieved                                     // an ICMP error that quotes no packet of golb's, or claims a path MTU that no link has
	NotFromServer                                       // with the source address of a server of method NAT, from elsewhere than its path
	Denied                                              // of a new connection of a client that its service does not allow
	Unchecked                                           // a new connection to a service of whose servers nothing is known yet
	GroupMAC                                            // to a broadcast or multicast MAC, which routers do not forward (RFC 1812 §5.3.4)
	NumReasons
	consumed = NumReasons // not dropped: other frames carry its data, or it waits or was answered
)

var reasonNames = [NumReasons - NotVIP]string{
	"not_vip", "no_service", "no_server", "no_connection", "no_neighbor", "server_gone",
	"table_full", "ttl_exceeded", "mtu_exceeded", "hop_by_hop", "rate_limited", "ping_rate_limited", "page_rate_limited",
	"bad_ping", "bad_page_syn", "no_call_id", "not_admitted", "icmp_not_believed", "not_from_server", "denied", "unchecked", "group_mac",
}

// String returns the reason's name, as counters and metrics carry it.
func (r Reason) String() string {
	if r < NotVIP {
		return forward.Reason(r).String()
	}
	if r < NumReasons {
		return reasonNames[r-NotVIP]
	}
	return "unknown"
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Reason) UnmarshalText(b []byte) error {
	for x := Reason(0); x < NumReasons; x++ {
		if x.String() == string(b) {
			*r = x
			return nil
		}
	}
	return fmt.Errorf("reason %q: unknown", b)
}
