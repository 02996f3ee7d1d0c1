package lb

import "github.com/golb/golb/forward"

// Reason is why a frame was not forwarded. Those of package forward, about what
// the frame is, come first; then those about what golb does with it.
type Reason uint8

// forwarded is the reason of frames that were.
const forwarded = Reason(forward.None)

// The reasons that are not in the frame itself.
const (
	NotVIP       = Reason(forward.NumReasons) + iota // neither to a VIP nor from a server
	NoService                                        // to a VIP, but no service has the port
	NoServer                                         // the scheduler found no server
	NoConnection                                     // a segment of no connection, not its first
	NoNeighbour                                      // the next hop's MAC is not known (yet)
	ServerGone                                       // of a connection whose server was removed
	TableFull                                        // no room for a new connection
	TTLExceeded                                      // TTL or hop limit used up
	MTUExceeded                                      // longer than the MTU to the server
	HopByHop                                         // IPv6 with hop-by-hop options, other than into a tunnel: a Linux director drops it too
	RateLimited                                      // to be answered, but more often than the settings allow
	NoCallID                                         // to a service with persistence by Call-ID, without one
	numReasons
	resent = numReasons // not lost: other frames carry what it did
)

var reasonNames = [numReasons - NotVIP]string{
	"not_vip", "no_service", "no_server", "no_connection", "no_neighbour", "server_gone",
	"table_full", "ttl_exceeded", "mtu_exceeded", "hop_by_hop", "rate_limited", "no_call_id",
}

// String returns the reason's name, as counters and metrics carry it.
func (r Reason) String() string {
	if r < NotVIP {
		return forward.Reason(r).String()
	}
	if r < numReasons {
		return reasonNames[r-NotVIP]
	}
	return "unknown"
}
