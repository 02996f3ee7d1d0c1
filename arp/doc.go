// Package arp keeps MACs and VIPs on the wire in order, for IPv4 by ARP (RFC 826,
// RFC 5227) and for IPv6 by Neighbor Discovery (RFC 4861, RFC 4862). On one
// Ethernet interface, a [Link]
//
//   - answers for VIPs that the host does not have, as the kernel would for its own;
//   - announces them (gratuitous ARP, unsolicited neighbour advertisements);
//   - probes whether somebody else has one, and watches for those who claim one later;
//   - resolves neighbours, keeps them confirmed and follows a change of MAC.
//
// The host's kernel takes no part in it: the VIPs are not configured, its neighbour
// table is neither read nor written. What a frame and the passing of time do is
// decided by a machine without sockets, clock or goroutines; a Link gives it all three.
package arp
