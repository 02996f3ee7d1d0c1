package arp

import (
	"net/netip"

	marp "github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// request asks for target: all hosts if to is zero, otherwise the host at that MAC. An
// unspecified source makes it a probe. In IPv6 a probe always goes to the multicast group
// (RFC 4861 §7.1.1).
func request(src mac, source, target netip.Addr, to mac) []byte {
	everybody := to == mac{}
	if target.Is4() {
		dst := to
		if everybody {
			dst = broadcast
		}
		return arpFrame(marp.OperationRequest, src, dst, source, to, target)
	}
	ns := &ndp.NeighborSolicitation{TargetAddress: target}
	if !source.IsUnspecified() {
		ns.Options = linkLayer(ndp.Source, src)
	}
	if everybody || source.IsUnspecified() {
		g := solicitedNode(target)
		return ndFrame(src, groupMAC(g), source, g, ns)
	}
	return ndFrame(src, to, source, target, ns)
}

// reply answers the request or solicitation q for a VIP: RFC 826, RFC 4861 §7.2.4.
func reply(src mac, q *message) []byte {
	vip := q.asked
	if vip.Is4() {
		sender := q.claimed
		if q.probe() {
			sender = netip.IPv4Unspecified()
		}
		return arpFrame(marp.OperationReply, src, q.mac, vip, q.mac, sender)
	}
	if q.probe() {
		return unsolicited(src, vip)
	}
	return ndFrame(src, q.mac, vip, q.claimed, &ndp.NeighborAdvertisement{
		Solicited: true, Override: true, TargetAddress: vip, Options: linkLayer(ndp.Target, src),
	})
}

// announcement tells all hosts that vip is at src. For IPv4 it is a request and a reply, as
// some hosts take only one of the two (RFC 5944 §4.6).
func announcement(src mac, vip netip.Addr) [][]byte {
	if vip.Is4() {
		return [][]byte{
			arpFrame(marp.OperationRequest, src, broadcast, vip, mac{}, vip),
			arpFrame(marp.OperationReply, src, broadcast, vip, src, vip),
		}
	}
	return [][]byte{unsolicited(src, vip)}
}

// unsolicited returns an unsolicited neighbor advertisement to all nodes: RFC 4861 §7.2.6.
func unsolicited(src mac, vip netip.Addr) []byte {
	all := netip.IPv6LinkLocalAllNodes()
	return ndFrame(src, groupMAC(all), vip, all, &ndp.NeighborAdvertisement{
		Override: true, TargetAddress: vip, Options: linkLayer(ndp.Target, src),
	})
}

func linkLayer(d ndp.Direction, m mac) []ndp.Option {
	return []ndp.Option{&ndp.LinkLayerAddress{Direction: d, Addr: m[:]}}
}
