// Package forward parses Ethernet frames and rewrites them for a load balancer: direct
// server return, NAT, tunnels, ICMP errors and resets, segmentation, fragments. It takes
// bytes and returns bytes. It opens no socket, reads no clock, takes no lock and imports
// the standard library alone. No function allocates memory per packet.
//
// # How a packet passes through
//
// Parse finds the headers of a Frame and writes their offsets to a Packet. A rewriter
// then changes the Frame in place, and the Packet with it, so that the two always agree:
//
//	var p forward.Packet
//	if r := forward.Parse(f, &p); r != forward.None {
//		drops[r]++
//		return
//	}
//	if p.TTL <= 1 {
//		return // or forward.TimeExceeded
//	}
//	forward.DSR(f, &p, server, own)
//
// Rewriters rely on what Parse has checked and do not check bounds again. So a function
// that takes a Frame and a Packet must get a Packet that Parse filled from this Frame, or
// that the last rewriter left. With any other a function may panic or damage the frame.
//
//	to the server         DSR; or NATRequest or Encapsulate, with DecTTL and SetMACs
//	to the client         NATReply, with DecTTL and SetMACs
//	ICMP errors           ParseEmbedded, NATEmbeddedRequest, NATEmbeddedReply, ParseTunneled, MTU
//	replies of golb       TimeExceeded, TooBig, PortUnreachable, RelayICMPError, TCPReset, EchoReply
//	segments of golb      TCPSegment
//	packets that are too  Packet.NetLen, Segmenter, Fragmenter, ClampMSS
//	long for an MTU
//	fragments             FragTable
//	super-packets         Merger makes them, Segmenter splits them; Splitter makes shorter ones
//	FTP                   ParseFTP, Edits
//	which frames to get   Filter
//
// # Offloads
//
// A Frame carries an Offload: the kernel's virtio_net_hdr. It says that a transport
// checksum is partial (CHECKSUM_PARTIAL: the field holds the pseudo-header's sum, and
// whoever sends the frame completes it), and that a frame is a super-packet that
// whoever sends it splits into segments (GSO). Every rewriter keeps the Offload right, and
// leaves a checksum partial where the kernel can complete it. One that is too long for the
// length field of its IP header (BIG TCP) goes through a Splitter first.
//
// # Units and byte order
//
// Lengths, sizes, MTUs and offsets are in bytes. An MTU is of the IP packet, without the
// Ethernet header. Offsets count from the Ethernet header, which is Frame.Bytes()[0].
// Addr and MAC are in network byte order, as on the wire; integers (ports, sequence
// numbers, identifications) are in host order.
//
// # Memory
//
// Whoever fills Frame.Buf owns it: in golb, the port that received it, until its next
// receive call. No function keeps a reference to a Frame or its bytes after it returns,
// apart from Segmenter and Fragmenter, which read the Frame given to Start until Next
// returns false. FragTable copies what has to wait.
//
// # Errors
//
// A function that can fail returns a Reason, None when it succeeded. There is one Reason
// for each kind of failure, so that a caller can count drops by it. Where a Reason other
// than None is returned the frame is unchanged, unless the function says otherwise.
// Functions that write a new frame return false where there is nothing to send.
//
// # Concurrency
//
// Functions keep no state between calls and may be called from several goroutines at
// once, on different frames. Values with state (Segmenter, Fragmenter, Merger, Edits,
// FragTable) are for one goroutine at a time.
package forward
