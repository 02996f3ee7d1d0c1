package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/seeded"
	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

// metadata is what the kernel knows of a frame in addition to its bytes.
type metadata struct {
	pktType, vlanTCI uint32
	untagged         bool // vlanTCI is of a tag that was taken off
}

// interpret returns a function that reports whether the program lets a frame in. The
// interpreter of x/net has no VLAN tag and packet type, so those loads are replaced by
// constants.
func interpret(t interface{ Fatalf(string, ...any) }, prog []bpf.RawInstruction, m metadata) func(frame []byte) bool {
	ins, ok := bpf.Disassemble(prog)
	if !ok {
		t.Fatalf("program has unknown instructions")
	}
	for i, in := range ins {
		switch in {
		case bpf.LoadExtension{Num: bpf.ExtType}:
			ins[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: m.pktType}
		case bpf.LoadExtension{Num: bpf.ExtVLANTag}:
			ins[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: m.vlanTCI}
		case bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}:
			present := uint32(1)
			if m.untagged || m.vlanTCI == 0 {
				present = 0
			}
			ins[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: present}
		}
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatalf("NewVM: %v", err)
	}
	return func(frame []byte) bool {
		n, err := vm.Run(frame)
		if err != nil {
			t.Fatalf("Run: %v", err)
		}
		return n > 0
	}
}

func ipFrame(src, dst netip.Addr, proto byte, payload ...byte) []byte {
	f := make([]byte, 12, 14+40+len(payload))
	if src.Is4() {
		f = binary.BigEndian.AppendUint16(f, etherTypeIPv4)
		h := make([]byte, 20)
		h[0], h[9] = 0x45, proto
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		f = append(f, h...)
	} else {
		f = binary.BigEndian.AppendUint16(f, etherTypeIPv6)
		h := make([]byte, 40)
		h[0], h[6] = 0x60, proto
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		f = append(f, h...)
	}
	return append(f, payload...)
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestFilterLetsIn(t *testing.T) {
	addr := netip.MustParseAddr
	client4, client6 := addr("203.0.113.9"), addr("2001:db8:9::9")
	f := forward.Filter{
		VIPs:    prefixes("192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:5::/48"),
		Servers: prefixes("10.1.0.0/16", "2001:db8:a::/64"),
	}
	arp := append(make([]byte, 12), 0x08, 0x06, 0, 1, 8, 0)
	tests := map[string]struct {
		frame []byte
		meta  metadata
		want  bool
	}{
		"TCP to a VIP":                    {frame: ipFrame(client4, addr("192.0.2.1"), 6), want: true},
		"ICMP to a VIP":                   {frame: ipFrame(client4, addr("192.0.2.2"), 1), want: true},
		"GRE to a VIP":                    {frame: ipFrame(client4, addr("192.0.2.2"), 47), want: true},
		"below the first VIP":             {frame: ipFrame(client4, addr("192.0.2.0"), 6)},
		"above the last neighbor":         {frame: ipFrame(client4, addr("192.0.2.3"), 6)},
		"first of a VIP prefix":           {frame: ipFrame(client4, addr("198.51.100.0"), 6), want: true},
		"last of a VIP prefix":            {frame: ipFrame(client4, addr("198.51.100.255"), 6), want: true},
		"after a VIP prefix":              {frame: ipFrame(client4, addr("198.51.101.0"), 6)},
		"IPv6 to a VIP":                   {frame: ipFrame(client6, addr("2001:db8::1"), 6), want: true},
		"IPv6 to another":                 {frame: ipFrame(client6, addr("2001:db8::2"), 6)},
		"IPv6 in a VIP prefix":            {frame: ipFrame(client6, addr("2001:db8:5:ffff::7"), 17), want: true},
		"IPv6 beside a VIP prefix":        {frame: ipFrame(client6, addr("2001:db8:6::"), 17)},
		"IPv6 fragment to a VIP":          {frame: ipFrame(client6, addr("2001:db8::1"), 44, make([]byte, 8)...), want: true},
		"neighbor solicitation to a VIP":  {frame: ipFrame(client6, addr("2001:db8::1"), 58, 135)},
		"neighbor advertisement to a VIP": {frame: ipFrame(client6, addr("2001:db8::1"), 58, 136)},
		"router solicitation":             {frame: ipFrame(client6, addr("2001:db8::1"), 58, 133)},
		"redirect":                        {frame: ipFrame(client6, addr("2001:db8::1"), 58, 137)},
		"echo request to a VIP":           {frame: ipFrame(client6, addr("2001:db8::1"), 58, 128), want: true},
		"packet too big to a VIP":         {frame: ipFrame(client6, addr("2001:db8::1"), 58, 2), want: true},
		"multicast listener done":         {frame: ipFrame(client6, addr("2001:db8::1"), 58, 132), want: true},
		"ICMPv6 after discovery":          {frame: ipFrame(client6, addr("2001:db8::1"), 58, 138), want: true},
		"reply of a server":               {frame: ipFrame(addr("10.1.2.3"), client4, 6), want: true},
		"SCTP of a server":                {frame: ipFrame(addr("10.1.2.3"), client4, 132), want: true},
		"ESP of a server":                 {frame: ipFrame(addr("10.1.2.3"), client4, 50)},
		"reply of another":                {frame: ipFrame(addr("10.2.2.3"), client4, 6)},
		"IPv6 reply of a server":          {frame: ipFrame(addr("2001:db8:a::5"), client6, 17), want: true},
		"IPv6 error of a server":          {frame: ipFrame(addr("2001:db8:a::5"), client6, 58, 1), want: true},
		"IPv6 discovery of a server":      {frame: ipFrame(addr("2001:db8:a::5"), client6, 58, 135)},
		"OSPF of a server":                {frame: ipFrame(addr("2001:db8:a::5"), client6, 89)},
		"ARP":                             {frame: arp},
		"empty":                           {frame: nil},
		"Ethernet header cut":             {frame: make([]byte, 13)},
		"IPv4 header cut":                 {frame: ipFrame(client4, addr("192.0.2.1"), 6)[:33]},
		"IPv6 header cut":                 {frame: ipFrame(client6, addr("2001:db8::1"), 6)[:53]},
		"for another host's MAC":          {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{pktType: 3}},
		"outgoing":                        {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{pktType: 4}},
		"broadcast":                       {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{pktType: 1}, want: true},
		"on a VLAN":                       {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{vlanTCI: 0xe00a}},
		"on a VLAN device":                {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{vlanTCI: 0xe00a, untagged: true}, want: true},
		"priority-tagged":                 {frame: ipFrame(client4, addr("192.0.2.1"), 6), meta: metadata{vlanTCI: 0xe000}, want: true},
	}
	prog, exact, err := compile(f, nil)
	if err != nil || !exact {
		t.Fatalf("Program: exact %v, %v", exact, err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := interpret(t, prog, tt.meta)(tt.frame); got != tt.want {
				t.Errorf("let in: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFilterLetsInFramesForVirtualMACs(t *testing.T) {
	var all []forward.MAC // VRRP's, and so as many as there may be
	for id := 1; id <= 255; id++ {
		all = append(all, forward.MAC{0, 0, 0x5e, 0, 1, byte(id)}, forward.MAC{0, 0, 0x5e, 0, 2, byte(id)})
	}
	scattered := []forward.MAC{{2, 1, 1, 1, 1, 1}, {2, 1, 1, 1, 2, 1}, {2, 1, 1, 2, 1, 1}, {4, 1, 1, 1, 1, 1}}
	client, vip := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("192.0.2.1")
	for name, macs := range map[string][]forward.MAC{"none": nil, "one": all[:1], "all": all, "scattered": scattered} {
		t.Run(name, func(t *testing.T) {
			prog, exact, err := compile(forward.Filter{VIPs: prefixes("192.0.2.1/32")}, macs)
			if err != nil || !exact {
				t.Fatalf("compile: exact %v, %v", exact, err)
			}
			for pktType := range uint32(6) {
				admits := interpret(t, prog, metadata{pktType: pktType})
				for _, dst := range slices.Concat(all, scattered, []forward.MAC{{}, {0, 0, 0x5e, 0, 1, 0}, {0, 0, 0x5f, 0, 1, 1}, {2, 1, 1, 2, 2, 1}}) {
					frame := ipFrame(client, vip, 6)
					copy(frame, dst[:])
					want := pktType < packetOtherHost || pktType == packetOtherHost && slices.Contains(macs, dst)
					if got := admits(frame); got != want {
						t.Fatalf("packet type %d, to %v: let in %v, want %v", pktType, dst, got, want)
					}
				}
			}
			if len(macs) == 0 {
				return
			}
			frame := ipFrame(client, vip, 6)
			copy(frame, macs[0][:])
			if interpret(t, prog, metadata{pktType: packetOtherHost, vlanTCI: 10})(frame) {
				t.Error("a frame of a VLAN is let in")
			}
		})
	}
}

func TestZeroFilterLetsNothingIn(t *testing.T) {
	prog, exact, err := compile(forward.Filter{}, nil)
	if err != nil || !exact {
		t.Fatalf("Program: exact %v, %v", exact, err)
	}
	admits := interpret(t, prog, metadata{})
	for _, frame := range [][]byte{
		ipFrame(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 6),
		ipFrame(netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), 58, 128),
	} {
		if admits(frame) {
			t.Errorf("let in %x", frame)
		}
	}
}

func TestFilterOfEverythingLetsAllIPIn(t *testing.T) {
	prog, exact, err := compile(forward.Filter{VIPs: prefixes("0.0.0.0/0", "::/0")}, nil)
	if err != nil || !exact {
		t.Fatalf("Program: exact %v, %v", exact, err)
	}
	admits := interpret(t, prog, metadata{})
	for _, s := range []string{"0.0.0.0", "127.255.255.255", "128.0.0.0", "255.255.255.255", "::", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		a := netip.MustParseAddr(s)
		if !admits(ipFrame(a, a, 6)) {
			t.Errorf("%s is not let in", s)
		}
	}
}

func TestFilterRefusesInvalidPrefixes(t *testing.T) {
	for _, p := range []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33), netip.MustParsePrefix("::ffff:10.0.0.1/128")} {
		if _, _, err := compile(forward.Filter{VIPs: []netip.Prefix{p}}, nil); err == nil {
			t.Errorf("VIP %v: no error", p)
		}
		if _, _, err := compile(forward.Filter{Servers: []netip.Prefix{p}}, nil); err == nil {
			t.Errorf("server %v: no error", p)
		}
	}
}

// scattered returns n addresses of which no two are adjacent.
func scattered(n int, v6 bool) []netip.Prefix {
	var out []netip.Prefix
	for i := range n {
		x := uint32(i+1) * 2654435761
		if v6 {
			var a [16]byte
			binary.BigEndian.PutUint32(a[0:], 0x20010db8)
			binary.BigEndian.PutUint32(a[4:], uint32(i%7))
			binary.BigEndian.PutUint32(a[12:], x)
			out = append(out, netip.PrefixFrom(netip.AddrFrom16(a), 128))
			continue
		}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], x)
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(a), 32))
	}
	return out
}

func TestFilterOfManyPrefixes(t *testing.T) {
	for _, tt := range []struct {
		n     int
		v6    bool
		exact bool
	}{
		{n: 1, exact: true}, {n: 300, exact: true}, {n: 3000, exact: true}, {n: 5000},
		{n: 300, v6: true, exact: true}, {n: 1200, v6: true, exact: true}, {n: 5000, v6: true},
	} {
		t.Run(fmt.Sprintf("%d,v6=%v", tt.n, tt.v6), func(t *testing.T) {
			vips := scattered(tt.n, tt.v6)
			prog, exact, err := compile(forward.Filter{VIPs: vips}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if exact != tt.exact || len(prog) > maxInstructions {
				t.Fatalf("exact %v with %d instructions, want %v", exact, len(prog), tt.exact)
			}
			admits := interpret(t, prog, metadata{})
			for _, p := range vips {
				if !admits(ipFrame(p.Addr(), p.Addr(), 6)) {
					t.Fatalf("%v is not let in", p)
				}
				next := p.Addr().Next()
				if got := admits(ipFrame(p.Addr(), next, 6)); got == exact {
					t.Fatalf("the next address, %v, let in: %v", next, got)
				}
			}
		})
	}
}

// letsIn is what a filter does, in plain Go.
func letsIn(f forward.Filter, src, dst netip.Addr, proto, icmpType byte) bool {
	holds := func(list []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if src.Is6() && proto == 58 && icmpType >= 133 && icmpType <= 137 {
		return false
	}
	replies := []byte{1, 6, 17, 132}
	if src.Is6() {
		replies = []byte{6, 17, 132, 58, 0, 43, 44, 60}
	}
	icmp := byte(protoICMP4)
	if dst.Is6() {
		icmp = protoICMP6
	}
	return holds(f.VIPs, dst) || holds(f.Servers, src) && slices.Contains(replies, proto) || f.ICMP && proto == icmp
}

// drawAddr draws words from a few values, so that prefixes are adjacent, inside one
// another, and share leading words.
func drawAddr(v6 bool) *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		word := rapid.SampledFrom([]uint32{0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x0a000000, 0x0a000100})
		if !v6 {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, word.Draw(t, "word"))))
		}
		var a []byte
		for range 4 {
			a = binary.BigEndian.AppendUint32(a, word.Draw(t, "word"))
		}
		return netip.AddrFrom16([16]byte(a)).Unmap()
	}).Filter(func(a netip.Addr) bool { return a.Is6() == v6 })
}

func drawPrefix(t *rapid.T) netip.Prefix {
	a := drawAddr(rapid.Bool().Draw(t, "v6")).Draw(t, "addr")
	return netip.PrefixFrom(a, a.BitLen()-min(a.BitLen(), rapid.SampledFrom([]int{0, 0, 0, 1, 2, 8, 31, 32, 33, 64, 96, 128}).Draw(t, "host bits")))
}

func TestFilterAgreesWithItsMeaning(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		f := forward.Filter{
			VIPs:    rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 40).Draw(t, "VIPs"),
			Servers: rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 40).Draw(t, "servers"),
			ICMP:    rapid.Bool().Draw(t, "icmp"),
		}
		f.VIPs = slices.DeleteFunc(f.VIPs, func(p netip.Prefix) bool { return p.Bits() == 0 })
		prog, exact, err := compile(f, nil)
		if err != nil || !exact {
			t.Fatalf("Program: exact %v, %v", exact, err)
		}
		admits := interpret(t, prog, metadata{})
		for range 20 {
			v6 := rapid.Bool().Draw(t, "v6")
			src, dst := drawAddr(v6).Draw(t, "src"), drawAddr(v6).Draw(t, "dst")
			proto := rapid.SampledFrom([]byte{0, 1, 6, 17, 43, 44, 47, 50, 58, 60, 132}).Draw(t, "proto")
			icmpType := rapid.SampledFrom([]byte{0, 2, 128, 132, 133, 135, 137, 138}).Draw(t, "type")
			got := admits(ipFrame(src, dst, proto, icmpType))
			if want := letsIn(f, src, dst, proto, icmpType); got != want {
				t.Fatalf("%v > %v proto %d type %d let in: %v, want %v", src, dst, proto, icmpType, got, want)
			}
		}
	})
}
