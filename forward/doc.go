// Package forward turns a received frame into the frame that goes to a server:
// it parses, and rewrites in place. Bytes in, bytes out: no sockets, no clock,
// no locks, no allocation per packet, and nothing but the standard library.
//
// Parse finds the headers of a frame and leaves their offsets in a Packet; the
// rewriters then change the Frame that the Packet describes, and the Packet with
// it. What they may rely on Parse has checked: they check no bound again.
//
//	to the server   DSR; NATRequest; Encapsulate (Tunnel), after DecTTL and SetMACs
//	to the client   NATReply
//	ICMP errors     ParseEmbedded, NATEmbeddedRequest, NATEmbeddedReply, ParseTunneled
//	own answers     TimeExceeded, TooBig, PortUnreachable, TCPReset, EchoReply
//	sizes           Packet.NetLen, Segmenter, Fragmenter, ClampMSS
//	fragments       FragTable
//	fewer frames    Merger
//
// An Offload travels with each frame and is kept true of it: checksums that a
// sender left unfinished stay so where the kernel can still finish them.
//
// Multi-byte fields on the wire are in network byte order; Go integers that come
// out of accessors are in host order. Functions here keep no state: they are safe
// for concurrent use on different frames.
package forward
