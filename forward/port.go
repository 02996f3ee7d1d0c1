package forward

import "net/netip"

// Filter says which frames a port receives. It is plain data: each kind of port compiles
// it into what it has, such as a socket filter. A frame that a Filter refuses is refused
// in the kernel, before it is copied or wakes anybody; the host's own stack is not
// affected.
//
// Only IP packets can be let in, and only those sent to this host: to a MAC address of the
// port, or to a broadcast or multicast one. Refused are therefore all other EtherTypes (so
// ARP too), frames for another host's MAC, and frames of a VLAN, other than
// priority-tagged ones (VLAN 0). Refused is also IPv6 neighbor and router discovery (RFC
// 4861), which package arp receives by itself. Discovery messages after an extension
// header are not recognized (RFC 6980 forbids them in fragments).
//
// Fragments other than the first are let in as whole packets are, since a Filter does not
// look at ports. The zero value lets nothing in. Prefixes have to be valid, and not
// IPv4-mapped; bits after the prefix length are ignored.
type Filter struct {
	// VIPs are destination addresses to let in.
	VIPs []netip.Prefix
	// Servers are source addresses to let in, for the replies of NAT's servers: only
	// TCP, UDP, SCTP, ICMP and ICMPv6, and IPv6 packets that begin with an extension
	// header.
	Servers []netip.Prefix
	// ICMP lets in ICMP and ICMPv6 whatever the addresses. NAT and tunnels need it:
	// routers on the way to the servers send errors to the client about NAT's packets,
	// and to the host about those of tunnels.
	ICMP bool
}

// PortStats counts what a port did since it was opened. A super-packet counts as one
// frame. Bytes are those of frames, from the Ethernet header on, without preamble and
// frame check sequence.
type PortStats struct {
	Received      uint64 `json:"received"` // frames that Recv returned
	ReceivedBytes uint64 `json:"received_bytes"`

	// ReceiveDropped are frames that passed the filter and found the receive buffer
	// full: the reader is too slow.
	ReceiveDropped uint64 `json:"receive_dropped"`
	// ReceiveUnusable are frames that cannot be forwarded: super-packets of a kind that
	// Offload cannot describe (SCTP, tunnels), and frames longer than MaxSuperFrame.
	ReceiveUnusable uint64 `json:"receive_unusable"`

	Sent        uint64 `json:"sent"` // frames that the kernel took from Send
	SentBytes   uint64 `json:"sent_bytes"`
	SendTooLong uint64 `json:"send_too_long"` // frames refused as longer than the MTU allows (EMSGSIZE)
	// SendNoBuffer are frames refused because the queue or the send buffer is full
	// (ENOBUFS, EAGAIN).
	SendNoBuffer uint64 `json:"send_no_buffer"`
	SendDown     uint64 `json:"send_down"` // frames refused because the interface is down or gone (ENETDOWN, ENXIO)
	// SendRefused are frames refused for any other reason: mostly, an Offload that
	// contradicts its frame.
	SendRefused uint64 `json:"send_refused"`

	Down   uint64 `json:"down"`   // how often the interface was found down
	Sleeps uint64 `json:"sleeps"` // how often Recv put its thread to sleep
}

// Add adds the counts of another port.
func (s *PortStats) Add(o PortStats) {
	s.Received += o.Received
	s.ReceivedBytes += o.ReceivedBytes
	s.ReceiveDropped += o.ReceiveDropped
	s.ReceiveUnusable += o.ReceiveUnusable
	s.Sent += o.Sent
	s.SentBytes += o.SentBytes
	s.SendTooLong += o.SendTooLong
	s.SendNoBuffer += o.SendNoBuffer
	s.SendDown += o.SendDown
	s.SendRefused += o.SendRefused
	s.Down += o.Down
	s.Sleeps += o.Sleeps
}
