package simulate_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb/simulate"
)

// compare holds a scenario that was played against its recording, and says what
// differs beyond what two right directors may do differently: IP identification
// and header checksum of packets that the director makes itself, the source port
// of GUE, a UDP checksum of 0 after NAT, how much an ICMP error quotes, and how
// fragments travel, as long as the receiver reassembles the same.
func compare(want, got *simulate.Scenario) []string {
	if len(want.Events) != len(got.Events) {
		return []string{fmt.Sprintf("%d events, want %d", len(got.Events), len(want.Events))}
	}
	c := comparison{nat: slices.ContainsFunc(want.Setup, func(s string) bool { return strings.Contains(s, " -m") })}
	for i := range want.Events {
		c.event(i, &want.Events[i], &got.Events[i])
	}
	c.endDatagram()
	return c.differences
}

type comparison struct {
	nat         bool
	differences []string

	datagram        string // whose fragments the last events were, "" where none
	wantAll, gotAll []simulate.Sent
}

func (c *comparison) differ(where string, format string, args ...any) {
	c.differences = append(c.differences, where+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) event(i int, want, got *simulate.Event) {
	where := fmt.Sprintf("event %d (%s %s%s %s)", i, want.Type, want.Note, want.Src, want.Dst)
	switch want.Type {
	case "cmd", "sleep":
	case "dump":
		if d := gocmp.Diff(sorted(want.Dests), sorted(got.Dests)); d != "" {
			c.differ(where, "servers (-want +got):\n%s", d)
		}
	case "raw":
		c.raw(where, want, got)
	default:
		c.connection(where, want, got)
	}
}

func sorted(list []simulate.Dest) []simulate.Dest {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b simulate.Dest) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Real, b.Real))
	})
	return list
}

func (c *comparison) connection(where string, want, got *simulate.Event) {
	switch {
	case want.Got != got.Got:
		c.differ(where, "got %s, want %s", got.Got, want.Got)
	case want.State != got.State:
		c.differ(where, "state %s, want %s", got.State, want.State)
	case want.Expires != nil && got.Expires == nil:
		c.differ(where, "no expiry, want %d", *want.Expires)
	case want.Expires != nil && max(*want.Expires-*got.Expires, *got.Expires-*want.Expires) > 2:
		c.differ(where, "expires in %d s, want %d", *got.Expires, *want.Expires)
	}
}

func (c *comparison) raw(where string, want, got *simulate.Event) {
	if strings.Contains(want.Note, "hop-by-hop") && c.nat {
		return
	}
	if strings.Contains(want.Note, "fragment ") && !strings.Contains(want.Note, "needed") {
		name, _, _ := strings.Cut(want.Note, ", fragment")
		if c.datagram != name {
			c.endDatagram()
		}
		c.datagram = name
		c.wantAll, c.gotAll = append(c.wantAll, want.Out...), append(c.gotAll, got.Out...)
		return
	}
	c.endDatagram()
	if strings.Contains(want.Note, "without DF") && slices.ContainsFunc(want.Out, isOuterFragment) {
		c.sameDatagrams(where, want.Out, got.Out)
		return
	}
	if d := gocmp.Diff(canonical(want.Out), canonical(got.Out)); d != "" {
		c.differ(where, "frames (-want +got):\n%s", d)
	}
}

// endDatagram compares what receivers make of the fragments so far.
func (c *comparison) endDatagram() {
	if c.datagram != "" {
		c.sameDatagrams(c.datagram, c.wantAll, c.gotAll)
	}
	c.datagram, c.wantAll, c.gotAll = "", nil, nil
}

func (c *comparison) sameDatagrams(where string, want, got []simulate.Sent) {
	w, g := reassemble(want), reassemble(got)
	for k := range g {
		if _, ok := w[k]; !ok {
			c.differ(where, "%s: %d bytes, want nothing", k, len(g[k]))
		}
	}
	for k := range w {
		if !bytes.Equal(w[k], g[k]) {
			c.differ(where, "%s: receiver has %d bytes, want %d", k, len(g[k]), len(w[k]))
		}
	}
}

// canonical describes frames so that what may differ does not show.
func canonical(list []simulate.Sent) []map[string]string {
	out := []map[string]string{}
	for _, s := range list {
		m := canonicalPacket(s.Packet)
		m["mac"] = s.DstMAC
		out = append(out, m)
	}
	return out
}

// directorAddrs are the addresses that the director itself sends from: its interface's and
// the VIPs.
var directorAddrs = []string{"0a090001", "fd000009000000000000000000000001", "0a000064", "fd000001000000000000000000000100"}

func canonicalPacket(text string) map[string]string {
	p, err := parsePacket(text)
	if err != nil {
		return map[string]string{"unreadable": err.Error()}
	}
	m := map[string]string{
		"src": hex.EncodeToString(p.src), "dst": hex.EncodeToString(p.dst),
		"ttl": fmt.Sprint(p.ttl), "tos": fmt.Sprint(p.tos), "df": fmt.Sprint(p.df), "proto": fmt.Sprint(p.proto),
		"checksum": fmt.Sprint(p.headerOK), "length": fmt.Sprint(len(p.raw) - p.total),
	}
	mine := slices.Contains(directorAddrs, m["src"])
	switch {
	case p.isTunnel() && p.isFragment():
		m["kind"] = "outer fragment"
	case p.isTunnel():
		p.canonicalTunnel(m)
	case mine && p.isError():
		delete(m, "tos")
		m["icmp"] = hex.EncodeToString(p.payload[:2]) + hex.EncodeToString(p.payload[4:8])
		m["quote"] = hex.EncodeToString(p.payload[8:min(len(p.payload), 8+p.quoted())])
		m["icmp checksum"] = fmt.Sprint(p.payloadOK())
	case mine && p.proto == 6 && len(p.payload) >= 20 && p.payload[13]&4 != 0:
		m["reset"] = fmt.Sprintf("%x %x %x", p.payload[:4], p.payload[4:12], p.payload[13])
		m["tcp checksum"] = fmt.Sprint(p.payloadOK())
	case mine && p.isEchoReply():
		m["echo"] = hex.EncodeToString(p.payload[4:])
		m["icmp checksum"] = fmt.Sprint(p.payloadOK())
	case p.proto == 17 && !p.isFragment():
		m["id"] = fmt.Sprint(p.id)
		m["udp"] = fmt.Sprintf("%x %x", p.payload[:6], p.payload[8:])
		m["udp checksum"] = fmt.Sprint(binary.BigEndian.Uint16(p.payload[6:]) == 0 || p.payloadOK())
	default:
		return map[string]string{"packet": text}
	}
	return m
}

func (p *packet) canonicalTunnel(m map[string]string) {
	b := p.payload
	switch p.proto {
	case 17:
		m["gue"] = fmt.Sprintf("%x %x", b[2:4], b[8:12])
		summed := binary.BigEndian.Uint16(b[6:]) != 0
		m["udp checksum"] = fmt.Sprint(summed, !summed || p.payloadOK())
	case 47:
		m["gre"] = hex.EncodeToString(b[:4])
		m["gre checksum"] = fmt.Sprint(b[0]&0x80 == 0 || sum(b) == 0)
	}
	m["inner"] = hex.EncodeToString(decapsulate(p.proto, b))
}

func isOuterFragment(s simulate.Sent) bool {
	p, err := parsePacket(s.Packet)
	return err == nil && p.isTunnel() && p.isFragment()
}

func decapsulate(proto uint8, b []byte) []byte {
	switch {
	case proto == 17:
		return b[12:]
	case proto == 47 && b[0]&0x80 != 0:
		return b[8:]
	case proto == 47:
		return b[4:]
	}
	return b
}

// reassemble returns what the receivers put together of frames: payloads by
// receiver, addresses and protocol, without tunnels.
func reassemble(list []simulate.Sent) map[string][]byte {
	outer, inner := parts{}, parts{}
	var take func(mac string, b []byte)
	take = func(mac string, b []byte) {
		p, err := parsePacket(hex.EncodeToString(b))
		switch {
		case err != nil:
			inner.add(mac+" unreadable", 0, b)
		case p.isTunnel() && p.isFragment():
			outer.add(fmt.Sprintf("%s %x %x %x %d", mac, p.id, p.src, p.dst, p.proto), p.offset, p.payload)
		case p.isTunnel():
			take(mac, decapsulate(p.proto, p.payload))
		default:
			inner.add(fmt.Sprintf("%s %x > %x proto %d", mac, p.src, p.dst, p.proto), p.offset, p.payload)
		}
	}
	for _, s := range list {
		b, _ := hex.DecodeString(s.Packet)
		take(s.DstMAC, b)
	}
	for key, payload := range outer.join() {
		mac, _, _ := strings.Cut(key, " ")
		var proto uint8
		fmt.Sscan(key[strings.LastIndex(key, " "):], &proto)
		take(mac, decapsulate(proto, payload))
	}
	got := inner.join()
	for key, b := range got {
		if strings.HasSuffix(key, "proto 17") && len(b) >= 8 {
			b[6], b[7] = 0, 0 // may be 0, or right
		}
	}
	return got
}

// parts are fragments by datagram and offset.
type parts map[string]map[int][]byte

func (p parts) add(key string, offset int, b []byte) {
	if p[key] == nil {
		p[key] = map[int][]byte{}
	}
	p[key][offset] = b
}

// join joins fragments; "hole" stands for a missing one.
func (p parts) join() map[string][]byte {
	out := map[string][]byte{}
	for key, at := range p {
		offsets := []int{}
		for o := range at {
			offsets = append(offsets, o)
		}
		slices.Sort(offsets)
		var b []byte
		for _, o := range offsets {
			if o != len(b) {
				b = append(b, "hole"...)
			}
			b = append(b, at[o]...)
		}
		out[key] = b
	}
	return out
}
