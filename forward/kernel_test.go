package forward

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recording is a packet that a Linux director (ip_vs) received, and what it sent.
type recording struct {
	note string
	in   []byte
	out  [][]byte
	macs []string
}

// readRecordings reads testdata/kernel: IP packets in hex, xx{n} being n times xx.
func readRecordings(t tb, path string) (rs []recording) {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for sc := bufio.NewScanner(file); sc.Scan(); {
		word, value, _ := strings.Cut(sc.Text(), " ")
		switch word {
		case "note":
			rs = append(rs, recording{note: value})
		case "in":
			rs[len(rs)-1].in = unhex(t, value)
		case "out":
			r := &rs[len(rs)-1]
			mac, packet, _ := strings.Cut(value, " ")
			r.macs = append(r.macs, mac)
			r.out = append(r.out, unhex(t, packet))
		}
	}
	return rs
}

func unhex(t tb, s string) (b []byte) {
	for s != "" {
		if s[0] == '{' {
			end := strings.IndexByte(s, '}')
			n, err := strconv.Atoi(s[1:end])
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, bytes.Repeat(b[len(b)-1:], n-1)...)
			s = s[end+1:]
			continue
		}
		x, err := hex.DecodeString(s[:2])
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
		s = s[2:]
	}
	return b
}

// director does with the functions of this package what the recorded one did. It has no
// connection table: the recording's note says whether there is a connection.
type director struct {
	method string // dr, nat, tun, gue, gre
	tunnel Tunnel
	vip    Addr
	server Addr
	ports  map[uint16]uint16 // service port to server port
	made   bool              // the last frame's outermost header was written by the director
}

func directorFor(name string) *director {
	proto, method, _ := strings.Cut(name, "-")
	d := &director{method: method, vip: vip4, server: server4, ports: map[uint16]uint16{80: 80}}
	if strings.HasSuffix(proto, "6") || name == "mixed-v6-in-v4" {
		d.vip, d.server = vip6, server6
	}
	if method == "nat" {
		d.ports = map[uint16]uint16{80: 8080, 53: 5353, 3868: 3869}
	}
	d.tunnel = Tunnel{Local: local4, Remote: server4, Port: guePort, PMTUDisc: true, Csum: strings.HasSuffix(name, "-csum")}
	if d.vip == vip6 && proto != "mixed" || name == "mixed-v4-in-v6" {
		d.tunnel.Local, d.tunnel.Remote = local6, server6
	}
	switch {
	case strings.HasPrefix(method, "gue"):
		d.tunnel.Kind = GUE
	case strings.HasPrefix(method, "gre"):
		d.tunnel.Kind = GRE
	}
	return d
}

// play returns the frames that the director sends for the packet of a recording.
func (d *director) play(t *testing.T, r recording) (out []*Frame) {
	f := frameOf(r.in, 0)
	p := mustParse(t, f)
	reply := frameOf(nil, 1500)
	d.made = d.isTunnel()
	answer := func(ok bool) []*Frame {
		d.made = true
		if !ok {
			return nil
		}
		return []*Frame{reply}
	}
	switch {
	case p.IsEchoRequest():
		d.made = true
		if !EchoReply(f, p, 0x1111) {
			return nil
		}
		return []*Frame{f}
	case p.IsRelated():
		return d.related(t, r, f, p)
	case strings.Contains(r.note, "no service"), strings.HasPrefix(r.note, "ACK of an unknown"):
		return answer(TCPReset(reply, f, p, d.vip))
	case strings.Contains(r.note, "weight 0"), strings.Contains(r.note, "no servers"):
		return answer(PortUnreachable(reply, f, p, d.vip, 0x2222))
	case strings.HasPrefix(r.note, "reply"):
		if p.TTL <= 1 {
			return answer(TimeExceeded(reply, f, p, local4, 0x2222))
		}
		DecTTL(f, p)
		if !strings.Contains(r.note, "unknown") {
			mustDo(t, NATReply(f, p, &d.vip, 80))
		}
		return []*Frame{f}
	case p.TTL <= 1:
		return answer(TimeExceeded(reply, f, p, d.vip, 0x2222))
	}
	DecTTL(f, p)
	mtu := 1500
	if d.isTunnel() {
		mtu -= d.tunnel.Overhead()
	}
	if (p.Version == 6 || p.DF) && p.NetLen(f) > mtu {
		return answer(TooBig(reply, f, p, d.vip, 0x2222, mtu))
	}
	return d.forward(t, r, f, p)
}

func (d *director) isTunnel() bool { return d.method != "dr" && d.method != "nat" }

func (d *director) forward(t *testing.T, r recording, f *Frame, p *Packet) (out []*Frame) {
	switch {
	case d.method == "dr":
	case d.method == "nat":
		mustDo(t, NATRequest(f, p, &d.server, d.ports[p.DstPort]))
	default:
		mustDo(t, Encapsulate(f, p, &d.tunnel, 0x3333, outerPort(r.out[0])))
		if p.End-p.L3 > 1500 {
			var g Fragmenter
			mustDo(t, g.Start(f, p, 1500, 0))
			for {
				o, q := frameOf(nil, g.FrameLen()), new(Packet)
				if !g.Next(o, q) {
					return out
				}
				out = append(out, o)
			}
		}
	}
	return []*Frame{f}
}

func (d *director) related(t *testing.T, r recording, f *Frame, p *Packet) []*Frame {
	var q Packet
	mustDo(t, ParseEmbedded(f, p, &q))
	DecTTL(f, p)
	port := func(q uint16) uint16 {
		for v, s := range d.ports {
			if q == s {
				return v
			}
		}
		return 0
	}
	switch {
	case strings.Contains(r.note, "unknown"):
		return nil
	case q.Dst == d.server:
		mustDo(t, NATEmbeddedReply(f, p, &q, d.vip, port(q.DstPort)))
		return []*Frame{f}
	case d.method == "nat":
		mustDo(t, NATEmbeddedRequest(f, p, &q, d.server, d.ports[q.SrcPort]))
		return []*Frame{f}
	}
	return d.forward(t, r, f, p)
}

func mustDo(t tb, r Reason) {
	t.Helper()
	if r != None {
		t.Fatal(r)
	}
}

// outerPort is the source port of a UDP packet without options.
func outerPort(b []byte) uint16 {
	if b[0]>>4 == 4 {
		return binary.BigEndian.Uint16(b[20:])
	}
	return binary.BigEndian.Uint16(b[40:])
}

// blankVariable zeroes what a director may choose: identification, and with it the header
// checksum, and the flow label.
func blankVariable(b []byte) []byte {
	b = append([]byte{}, b...)
	if b[0]>>4 == 4 {
		copy(b[4:6], []byte{0, 0})
		copy(b[10:12], []byte{0, 0})
	} else {
		b[1] &= 0xf0
		b[2], b[3] = 0, 0
	}
	return b
}

func TestAsTheKernelDoes(t *testing.T) {
	files, err := filepath.Glob("testdata/kernel/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("recordings: %d, %v", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			d := directorFor(name)
			for _, r := range readRecordings(t, path) {
				if strings.Contains(r.note, ", fragment ") || r.note == "lone later fragment" {
					continue // see TestFragmentsAsTheKernelDoes
				}
				if r.note == "hop-by-hop options" && !d.isTunnel() {
					continue // ip_vs refuses them by policy
				}
				t.Run(r.note, func(t *testing.T) { d.compare(t, r) })
			}
		})
	}
}

func (d *director) compare(t *testing.T, r recording) {
	out := d.play(t, r)
	if len(out) != len(r.out) {
		t.Fatalf("%d frames, want %d", len(out), len(r.out))
	}
	for i, f := range out {
		check(t, f)
		got, want := packetOf(f), r.out[i]
		if strings.Contains(r.note, "zero checksum") && d.method == "nat" {
			copy(want[26:28], []byte{0, 0}) // the kernel computes it; 0 is right too (RFC 768)
		}
		if d.made {
			got, want = blankVariable(got), blankVariable(want)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d:\n got %x\nwant %x", i, got, want)
		}
	}
}

// The kernel reassembles, rewrites and fragments again; golb rewrites fragment by fragment.
// The receiver must get the same datagram from the same addresses.
func TestFragmentsAsTheKernelDoes(t *testing.T) {
	for _, name := range []string{"udp4-dr", "udp4-nat", "udp6-dr", "udp6-nat"} {
		t.Run(name, func(t *testing.T) {
			d := directorFor(name)
			table := NewFragTable(FragConfig{})
			var got, want []string
			for _, r := range readRecordings(t, "testdata/kernel/"+name+".txt") {
				if !strings.Contains(r.note, "fragment") {
					continue
				}
				for _, b := range r.out {
					want = append(want, shape(t, frameOf(b, 0)))
				}
				f := frameOf(r.in, 0)
				p := mustParse(t, f)
				out := func(f *Frame) {
					p := mustParse(t, f)
					DecTTL(f, p)
					for _, f := range d.forward(t, recording{}, f, p) {
						got = append(got, shape(t, f))
					}
				}
				if p.Frag == FirstFrag {
					mustDo(t, table.First(p, 0, 1))
					first := *p
					out(f)
					for dst := frameOf(nil, 2000); table.Take(&first, dst); dst = frameOf(nil, 2000) {
						out(dst)
					}
					continue
				}
				if _, r := table.Later(f, p, 0); r == None {
					out(f)
				} else if r != FragmentQueued {
					t.Fatal(r)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || len(want) == 0 {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// shape prints a fragment without what may differ: the identification, and the checksum
// that depends on it.
func shape(t tb, f *Frame) string {
	p := mustParse(t, f)
	data := f.Bytes()[p.L4:p.End]
	sum := uint64(14695981039346656037)
	for _, c := range data {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	var ports uint32
	if p.Frag == FirstFrag {
		ports = binary.BigEndian.Uint32(data)
	}
	return fmt.Sprintf("%v > %v %08x ttl %d at %d more %v: %d bytes %x", p.Src, p.Dst, ports, p.TTL, p.FragOff, p.MoreFrags, len(data), sum)
}
