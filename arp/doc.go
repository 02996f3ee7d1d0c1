// Package arp is ARP (RFC 826, RFC 5227) and Neighbor Discovery (ND; RFC 4861, RFC 4862)
// on one Ethernet interface, in userspace. A [Link]
//
//   - answers requests and solicitations for VIPs ([Link.SetVIPs]);
//   - announces VIPs by gratuitous ARP and unsolicited advertisements ([Link.Announce]),
//     again when the link comes up or gets another MAC, and when it passes packets again;
//   - finds out whether another host has an address ([Link.Probe]), and notices hosts that
//     claim a VIP later ([Config].OnConflict);
//   - resolves neighbors, and follows them to another MAC ([Link.Resolve]).
//
// The host's kernel has no part in it: VIPs are not configured on an interface, and the
// kernel's neighbor table is neither read nor written.
//
// # Words
//
// Here a request is an ARP request or a neighbor solicitation, an answer an ARP reply or a
// neighbor advertisement. Where a message gives an address as its sender's, it claims that
// address for the MAC in it. A request from the unspecified address (0.0.0.0, ::) is a
// probe, also called duplicate address detection (DAD) in IPv6; it claims nothing.
//
// # MACs
//
// A VIP is at the interface's own MAC or at a virtual one, such as that of a VRRP virtual
// router; VIPs of one link may differ in this ([VIP]). While a VIP is set, the interface
// receives frames to its MAC. Requests and probes of the link carry the interface's own
// MAC, so that switches learn a virtual MAC only from the host that has the VIP.
//
// # Conflicts
//
// Another host that claims a VIP is answered by one announcement in 10 s (RFC 5227 §2.4,
// case (c)), and reported. It is asked every 10 s whether it still does: the conflict ends
// after three requests to it without an answer. Since many hosts answer requests and claim
// nothing unasked, the link asks for each VIP of its own about once a minute; these
// requests are limited to 20 a second. Another host that claims the address of a neighbor is believed
// only where the neighbor's known MAC does not answer three requests to it alone, 100 ms
// apart. If it does answer, the neighbor stays there, and the conflict is reported. MACs
// of the host's own interfaces are never another host's.
//
// # Limits
//
// Memory depends on the numbers of VIPs and of addresses to resolve, not on what other hosts
// send. First requests for addresses are limited to
// 1,000 at once and 500 a second, further ones for addresses that never answered to 200 a
// second, requests for all other neighbors to 1,000 at once and 1,000 a second; requests
// beyond that are postponed. Announcements are limited to 1,000 at once and 1,000 a second.
// Of each kind of log line that packets can cause, 10 are
// written at once and then one in 10 s, which says how many were omitted.
//
// # Privileges and systems
//
// [Open] needs CAP_NET_RAW. Links work on Linux only; elsewhere Open fails with
// errors.ErrUnsupported.
package arp
