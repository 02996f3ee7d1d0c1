package arp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	marp "github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// mac is an Ethernet address.
type mac = [6]byte

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	icmpv6        = 58 // IPv6 next header
	ipv6HeaderLen = 40
	ndMinLen      = 24 // ICMPv6 header, flags and target: RFC 4861 §4.3, §4.4
)

// message is the content of an ARP packet, a neighbor solicitation or an advertisement.
type message struct {
	kind      kind
	src, dst  mac        // of the Ethernet header
	asked     netip.Addr // the address that a request is for; not valid in answers
	claimed   netip.Addr // the address that the sender claims; not valid in probes
	mac       mac        // of the sender
	explicit  bool       // mac is in the message; otherwise it is the Ethernet source
	solicited bool       // an answer to a request: ARP reply to one host, NA with the S flag
	override  bool       // gratuitous ARP, NA with the O flag, NS with a source option
}

// kind is the type of a message.
type kind int

const (
	arpRequest kind = iota
	arpReply
	solicitation
	advertisement
)

// probe reports whether the message asks for an address without claiming one:
// RFC 5227 §1.1, RFC 4862 §5.4.2.
func (m *message) probe() bool { return m.asked.IsValid() && !m.claimed.IsValid() }

var (
	errShort    = errors.New("truncated")
	errTagged   = errors.New("VLAN tag inside the frame")
	errType     = errors.New("neither ARP nor neighbor discovery")
	errMAC      = errors.New("hardware address is not a unicast one")
	errHopLimit = errors.New("hop limit is not 255")
	errChecksum = errors.New("wrong ICMPv6 checksum")
	errND       = errors.New("forbidden by RFC 4861 §7.1")
)

// parse reads an Ethernet frame. It fails if the message breaks a rule of RFC 826, RFC 4861
// §7.1 or RFC 1812 §3.3.2 (a group address as hardware address). It keeps no part of frame.
func parse(frame []byte) (message, error) {
	var f ethernet.Frame
	if err := f.UnmarshalBinary(frame); err != nil {
		return message{}, err
	}
	if f.VLAN != nil || f.ServiceVLAN != nil {
		return message{}, errTagged
	}
	m := message{src: mac(f.Source), dst: mac(f.Destination)}
	var err error
	switch f.EtherType {
	case ethernet.EtherTypeARP:
		err = m.parseARP(f.Payload)
	case ethernet.EtherTypeIPv6:
		err = m.parseND(f.Payload)
	default:
		err = errType
	}
	if err == nil && !unicast(m.mac) {
		err = errMAC
	}
	return m, err
}

func (m *message) parseARP(b []byte) error {
	var p marp.Packet
	if err := p.UnmarshalBinary(b); err != nil {
		return err
	}
	if p.HardwareType != 1 || p.ProtocolType != uint16(ethernet.EtherTypeIPv4) ||
		p.HardwareAddrLength != 6 || p.IPLength != 4 {
		return fmt.Errorf("not IPv4 over Ethernet: %w", errType)
	}
	m.mac, m.explicit = mac(p.SenderHardwareAddr), true
	if !p.SenderIP.IsUnspecified() {
		m.claimed = p.SenderIP
	}
	m.override = p.SenderIP == p.TargetIP
	switch p.Operation {
	case marp.OperationRequest:
		m.kind, m.asked = arpRequest, p.TargetIP
	case marp.OperationReply:
		m.kind = arpReply
		m.solicited = !group(m.dst)
	default:
		return fmt.Errorf("operation %d: %w", p.Operation, errType)
	}
	return nil
}

func (m *message) parseND(b []byte) error {
	h, err := ipv6.ParseHeader(b)
	if err != nil {
		return err
	}
	src, _ := netip.AddrFromSlice(h.Src)
	dst, _ := netip.AddrFromSlice(h.Dst)
	switch {
	case h.Version != 6 || h.NextHeader != icmpv6:
		return errType
	case h.PayloadLen < ndMinLen || len(b) < ipv6HeaderLen+h.PayloadLen:
		return errShort
	case h.HopLimit != ndp.HopLimit:
		return errHopLimit
	}
	body := b[ipv6HeaderLen : ipv6HeaderLen+h.PayloadLen]
	if icmpSum(src, dst, body) != 0xffff {
		return errChecksum
	}
	if body[1] != 0 {
		return errND
	}
	nd, err := ndp.ParseMessage(body)
	if err != nil {
		return err
	}
	switch nd := nd.(type) {
	case *ndp.NeighborSolicitation:
		return m.fromSolicitation(nd, src, dst)
	case *ndp.NeighborAdvertisement:
		return m.fromAdvertisement(nd, dst)
	}
	return errType
}

// fromSolicitation applies RFC 4861 §7.1.1.
func (m *message) fromSolicitation(ns *ndp.NeighborSolicitation, src, dst netip.Addr) error {
	m.kind, m.asked = solicitation, ns.TargetAddress
	m.setMAC(ns.Options, ndp.Source)
	m.override = m.explicit
	if !src.IsUnspecified() {
		m.claimed = src
	}
	solicited := netip.PrefixFrom(solicitedNode(netip.IPv6Unspecified()), 104)
	if m.asked.IsMulticast() || src.IsMulticast() ||
		src.IsUnspecified() && (m.explicit || !solicited.Contains(dst)) {
		return errND
	}
	return nil
}

// fromAdvertisement applies RFC 4861 §7.1.2.
func (m *message) fromAdvertisement(na *ndp.NeighborAdvertisement, dst netip.Addr) error {
	m.kind, m.claimed = advertisement, na.TargetAddress
	m.setMAC(na.Options, ndp.Target)
	m.solicited, m.override = na.Solicited, na.Override
	if m.claimed.IsMulticast() || dst.IsMulticast() && na.Solicited {
		return errND
	}
	return nil
}

func (m *message) setMAC(options []ndp.Option, d ndp.Direction) {
	m.mac = m.src
	for _, o := range options {
		if lla, ok := o.(*ndp.LinkLayerAddress); ok && lla.Direction == d {
			m.mac, m.explicit = mac(lla.Addr), true
		}
	}
}

// arpFrame encodes an ARP packet. sender and target must be IPv4 addresses.
func arpFrame(op marp.Operation, src, dst mac, sender netip.Addr, targetMAC mac, target netip.Addr) []byte {
	p, err := marp.NewPacket(op, src[:], sender, targetMAC[:], target)
	if err != nil {
		panic(fmt.Sprintf("arp: %s for %s: %v", op, target, err)) // addresses are ours and checked
	}
	b, err := p.MarshalBinary()
	if err != nil {
		panic(err) // documented never to fail
	}
	return etherFrame(src, dst, ethernet.EtherTypeARP, b)
}

// ndFrame encodes a neighbor solicitation or advertisement in IPv6 (RFC 4861
// §4.3, §4.4), with hop limit 255 and the checksum in place.
func ndFrame(srcMAC, dstMAC mac, src, dst netip.Addr, nd ndp.Message) []byte {
	body, err := ndp.MarshalMessageChecksum(nd, src, dst)
	if err != nil {
		panic(fmt.Sprintf("arp: %s to %s: %v", nd.Type(), dst, err)) // addresses are ours and checked
	}
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	b[6], b[7] = icmpv6, ndp.HopLimit
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return etherFrame(srcMAC, dstMAC, ethernet.EtherTypeIPv6, append(b, body...))
}

func etherFrame(src, dst mac, t ethernet.EtherType, payload []byte) []byte {
	f := ethernet.Frame{Source: src[:], Destination: dst[:], EtherType: t, Payload: payload}
	b, err := f.MarshalBinary()
	if err != nil {
		panic(err) // only VLAN tags can fail, and there are none
	}
	return b
}

// icmpSum is the ones' complement sum over the IPv6 pseudo-header (RFC 8200 §8.1)
// and body: 0xffff where the checksum in body is right.
func icmpSum(src, dst netip.Addr, body []byte) uint16 {
	sum := uint32(len(body)) + icmpv6
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	s, d := src.As16(), dst.As16()
	add(s[:])
	add(d[:])
	add(body)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// solicitedNode returns the solicited-node multicast address (RFC 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// groupMAC returns the Ethernet address of an IPv6 multicast group (RFC 2464 §7).
func groupMAC(g netip.Addr) mac {
	b := g.As16()
	return mac{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

func group(m mac) bool   { return m[0]&1 != 0 }
func unicast(m mac) bool { return !group(m) && m != mac{} }
