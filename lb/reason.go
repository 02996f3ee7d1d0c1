package lb

import "github.com/golb/golb/lb/internal/dataplane"

// Reason is why a frame was not forwarded. Its String, as not_vip, is its name in JSON,
// lists and metrics.
type Reason = dataplane.Reason

// The reasons that are not in the frame itself; those that are, are the reasons of
// package forward, with the same numbers.
const (
	NotVIP          = dataplane.NotVIP          // neither to a VIP nor from a server
	NoService       = dataplane.NoService       // to a VIP, but no service has the port
	NoServer        = dataplane.NoServer        // the scheduler found no server
	NoConnection    = dataplane.NoConnection    // a segment of no connection, not its first
	NoNeighbor      = dataplane.NoNeighbor      // the next hop's MAC is not known (yet)
	ServerGone      = dataplane.ServerGone      // of a connection whose server was removed
	TableFull       = dataplane.TableFull       // no room for a new connection
	TTLExceeded     = dataplane.TTLExceeded     // TTL or hop limit used up
	MTUExceeded     = dataplane.MTUExceeded     // longer than the MTU to the server
	HopByHop        = dataplane.HopByHop        // IPv6 with hop-by-hop options, other than into a tunnel: a Linux director drops it too
	RateLimited     = dataplane.RateLimited     // a new connection beyond max_conn_rate or max_client_conn_rate
	PingRateLimited = dataplane.PingRateLimited // an echo request beyond answer_rate
	PageRateLimited = dataplane.PageRateLimited // a SYN to the fallback page beyond answer_rate
	BadPing         = dataplane.BadPing         // an echo request whose checksum is wrong, or that is not whole
	BadPageSYN      = dataplane.BadPageSYN      // a SYN to the fallback page with a wrong checksum, in fragments, or to a group address
	NoCallID        = dataplane.NoCallID        // to a service with persistence by Call-ID, without one
	NotAdmitted     = dataplane.NotAdmitted     // a new connection that Env.Admit refused
)

// Drops are frames that were not forwarded, by reason; those that are 0 are left out.
type Drops map[Reason]uint64
