package lb

import "github.com/golb/golb/lb/internal/dataplane"

// Reason is the reason for which a frame was not forwarded. String returns its name in JSON,
// lists and metrics, as not_vip.
type Reason = dataplane.Reason

// The reasons that depend on services, servers and the connection table. Those that the
// frame alone shows are package forward's, with the same numbers.
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
	PageRateLimited = dataplane.PageRateLimited // a segment to the fallback page beyond answer_rate, or beyond its client's share
	BadPing         = dataplane.BadPing         // an echo request whose checksum is wrong, or that is not whole
	BadPageSYN      = dataplane.BadPageSYN      // a SYN to the fallback page with a wrong checksum, in fragments, or to a group address
	NoCallID        = dataplane.NoCallID        // without Call-ID, to a service with persistence by Call-ID
	NotAdmitted     = dataplane.NotAdmitted     // a new connection that Env.Admit refused
	ICMPNotBelieved = dataplane.ICMPNotBelieved // an ICMP error that quotes no packet of golb's, or claims a path MTU that no link has
	Denied          = dataplane.Denied          // of a new connection of a client that allow and deny keep out
	NotFromServer   = dataplane.NotFromServer   // with the source address of a server of method NAT, from elsewhere than its path
	Unchecked       = dataplane.Unchecked       // a new connection to a service whose servers have no result of a check yet
	GroupMAC        = dataplane.GroupMAC        // to a broadcast or multicast MAC, as of a switch that floods them: RFC 1812 §5.3.4
)

// Drops counts the frames that were not forwarded, by reason; reasons with 0 are left out.
type Drops map[Reason]uint64
