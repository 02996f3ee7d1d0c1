// Package forward turns a received frame into the frame that goes to a server:
// it parses, and rewrites in place. Bytes in, bytes out: no sockets, no clock,
// no locks, no allocation per packet, and nothing but the standard library.
//
// Parse finds the headers of a frame and leaves their offsets in a Packet; the
// rewriters (DSR, NAT, tunnels, replies that a host would send) then change the
// Frame that the Packet describes. Multi-byte fields on the wire are in network
// byte order; Go integers that come out of accessors are in host order.
package forward
