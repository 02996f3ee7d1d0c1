package vrrp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRecordedAdvertsDecode: each advert that keepalived sent decodes as the makers of
// the recordings have it, and encodes to the same bytes.
func TestRecordedAdvertsDecode(t *testing.T) {
	n := 0
	for _, r := range recordings(t) {
		for i := range r.Packets {
			p := &r.Packets[i]
			if p.Kind != "vrrp" {
				if _, reason := Decode(p.ipPacket()); reason != ReasonNotVRRP && p.Kind != "arp" {
					t.Errorf("%s at %.3f: %s: reason %q, want %q", r.Name, p.At, p.Kind, reason, ReasonNotVRRP)
				}
				continue
			}
			n++
			a, reason := Decode(p.ipPacket())
			if reason != ReasonNone {
				t.Errorf("%s at %.3f: %s", r.Name, p.At, reason)
				continue
			}
			if d := cmp.Diff(p.fields(), fieldsOf(&a)); d != "" {
				t.Errorf("%s at %.3f: -recorded +decoded\n%s", r.Name, p.At, d)
			}
			if again := a.Append(nil); !bytes.Equal(again, p.ipPacket()[:len(again)]) {
				t.Errorf("%s at %.3f: encodes as\n%x, is\n%x", r.Name, p.At, again, p.ipPacket())
			}
		}
	}
	if n == 0 {
		t.Fatal("no advert in the recordings")
	}
	t.Logf("%d adverts", n)
}

// fields is what the recording says of an advert, in one form with fieldsOf.
func (p *recorded) fields() map[string]string {
	checksum, _, _ := strings.Cut(p.ChecksumOK, ",")
	if checksum == "pseudo-224.0.0.18" {
		checksum = "pseudo-multicast"
	}
	f := map[string]string{
		"src": p.Src, "dst": p.Dst, "id": fmt.Sprint(p.ID), "df": fmt.Sprint(p.DF),
		"ttl": fmt.Sprint(p.TTL + p.HopLimit), "tos": fmt.Sprint(p.TOS + p.Class),
		"version": fmt.Sprint(p.Version), "type": fmt.Sprint(p.Type), "vrid": fmt.Sprint(p.VRID),
		"priority": fmt.Sprint(p.Priority), "count": fmt.Sprint(p.Count), "addresses": fmt.Sprint(p.Addresses),
		"interval": (time.Duration(p.IntervalS)*time.Second + time.Duration(p.IntervalCS)*10*time.Millisecond).String(),
		"auth":     fmt.Sprint(p.AuthType), "auth data": p.AuthData, "reserved": fmt.Sprint(p.Reserved),
		"sum": p.Checksum, "checksum": checksum, "trailer": p.Trailer,
	}
	if p.AH != nil {
		f["ah"] = fmt.Sprintf("spi %s seq %d icv %s", p.AH.SPI, p.AH.Seq, p.AH.ICV)
	}
	return f
}

func fieldsOf(a *Advert) map[string]string {
	f := map[string]string{
		"src": a.Src.String(), "dst": a.Dst.String(), "id": fmt.Sprint(a.ID), "df": fmt.Sprint(a.DF),
		"ttl": fmt.Sprint(a.TTL), "tos": fmt.Sprint(a.TOS),
		"version": fmt.Sprint(a.Version), "type": fmt.Sprint(a.Type), "vrid": fmt.Sprint(a.VRID),
		"priority": fmt.Sprint(a.Priority), "count": fmt.Sprint(len(a.Addresses)), "addresses": fmt.Sprint(a.Addresses),
		"interval": a.Interval.String(), "auth": fmt.Sprint(a.AuthType), "auth data": "", "reserved": fmt.Sprint(a.Reserved),
		"sum": fmt.Sprintf("%04x", a.Sum), "checksum": a.Checksum.String(), "trailer": "",
	}
	if a.Version == 2 {
		f["auth data"] = hex.EncodeToString(a.AuthData[:])
	}
	if t := a.Trailer; t != nil {
		f["trailer"] = fmt.Sprintf("%02x%02x%04x%016x%x", t.Scheme, t.KeyID, t.Reserved, t.seq(), t.HMAC)
	}
	if a.AH != nil {
		f["ah"] = fmt.Sprintf("spi %08x seq %d icv %x", a.AH.SPI, a.AH.Seq, a.AH.ICV)
	}
	return f
}

// TestRecordedSignatures: the HMACs and ICVs that keepalived made are those that we
// make of the same advert and key.
func TestRecordedSignatures(t *testing.T) {
	secret, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	var hmacs, ahs int
	for _, r := range recordings(t) {
		for i := range r.Packets {
			if r.Packets[i].Kind != "vrrp" {
				continue
			}
			a, _ := Decode(r.Packets[i].ipPacket())
			if a.Trailer != nil {
				hmacs++
				if want := a.hmac(secret); a.Trailer.HMAC != want {
					t.Errorf("%s at %.3f: HMAC %x, computed %x", r.Name, r.Packets[i].At, a.Trailer.HMAC, want)
				}
			}
			if a.AH != nil {
				ahs++
				if want := a.icv([8]byte{'s', '3', 'c', 'r', '3', 't'}); a.AH.ICV != want {
					t.Errorf("%s at %.3f: ICV %x, computed %x", r.Name, r.Packets[i].At, a.AH.ICV, want)
				}
			}
		}
	}
	if hmacs == 0 || ahs == 0 {
		t.Fatalf("%d trailers and %d AHs in the recordings", hmacs, ahs)
	}
	t.Logf("%d trailers, %d AHs", hmacs, ahs)
}

// advert4 and advert6 are small adverts to change in tests.
func advert4() Advert {
	return Advert{
		Src: netip.MustParseAddr("192.0.2.1"), Dst: group4, TTL: 255, TOS: 0xc0, ID: 1,
		Version: 3, Type: 1, VRID: 51, Priority: 100, Interval: time.Second,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")}, Checksum: ChecksumPseudo,
	}
}

func advert6() Advert {
	a := advert4()
	a.Src, a.Dst, a.ID = netip.MustParseAddr("fe80::1"), group6, 0
	a.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8::100")}
	return a
}

// TestChecksumKinds has the examples of the three kinds over IPv4, and what each covers.
func TestChecksumKinds(t *testing.T) {
	unicast := netip.MustParseAddr("192.0.2.2")
	for _, c := range []struct {
		name     string
		dst      netip.Addr
		checksum Checksum
		want     Checksum
		sum      uint16
	}{
		{"RFC 9568", group4, ChecksumPlain, ChecksumPlain, 0xa802},
		{"keepalived", group4, ChecksumPseudo, ChecksumPseudo, 0x0572},
		{"unknown is keepalived's", group4, ChecksumUnknown, ChecksumPseudo, 0x0572},
		{"old keepalived, multicast", group4, ChecksumPseudoMulticast, ChecksumPseudo, 0x0572},
		{"old keepalived, unicast", unicast, ChecksumPseudoMulticast, ChecksumPseudoMulticast, 0x0572},
		{"keepalived, unicast", unicast, ChecksumPseudo, ChecksumPseudo, 0x2382},
	} {
		a := advert4()
		a.Dst, a.Checksum = c.dst, c.checksum
		got, reason := Decode(a.Append(nil))
		if reason != ReasonNone || got.Checksum != c.want || got.Sum != c.sum {
			t.Errorf("%s: %q %s %04x, want %s %04x", c.name, reason, got.Checksum, got.Sum, c.want, c.sum)
		}
	}
}

// TestDecodeSaysWhatIsWrong changes one thing of a packet that is right.
func TestDecodeSaysWhatIsWrong(t *testing.T) {
	v2 := advert4()
	v2.Version = 2
	ah := v2
	ah.AuthType, ah.AH = AuthAH, &AH{SPI: 0xc0000201, Seq: 1}
	signed := advert4()
	signed.Trailer = &Trailer{Scheme: 1, KeyID: 1}
	ipsum := func(p []byte) []byte { // repairs the IPv4 header checksum
		p[10], p[11] = 0, 0
		s := ^fold(sum(0, p[:int(p[0]&0xf)*4]))
		p[10], p[11] = byte(s>>8), byte(s)
		return p
	}
	set := func(i int, v byte) func([]byte) []byte {
		return func(p []byte) []byte {
			p[i] = v
			if p[0] == 0x45 && i < 20 && i != 10 {
				ipsum(p)
			}
			return p
		}
	}
	cut := func(n int) func([]byte) []byte { return func(p []byte) []byte { return p[:n] } }
	for _, c := range []struct {
		name   string
		advert Advert
		change func([]byte) []byte
		want   Reason
	}{
		{"nothing", advert4(), func(p []byte) []byte { return p }, ReasonNone},
		{"Ethernet padding", advert4(), func(p []byte) []byte { return append(p, 0, 0, 0, 0, 0, 0) }, ReasonNone},
		{"Ethernet padding, IPv6", advert6(), func(p []byte) []byte { return append(p, 1, 2) }, ReasonNone},
		{"reserved bits", advert6(), func(p []byte) []byte { // ignored on receipt: RFC 9568 §5.2.6
			p[44] |= 0xf0
			s := uint32(p[46])<<8 | uint32(p[47])
			s = uint32(fold(s + 0xffff - 0xf000))
			p[46], p[47] = byte(s>>8), byte(s)
			return p
		}, ReasonNone},
		{"empty", advert4(), cut(0), ReasonNotVRRP},
		{"IP version 5", advert4(), set(0, 0x55), ReasonNotVRRP},
		{"IPv4 header cut", advert4(), cut(19), ReasonLength},
		{"IPv6 header cut", advert6(), cut(39), ReasonLength},
		{"IPv4 packet cut", advert4(), cut(31), ReasonLength},
		{"IPv6 packet cut", advert6(), cut(60), ReasonLength},
		{"IHL 4", advert4(), set(0, 0x44), ReasonLength},
		{"IHL behind the end", advert4(), set(0, 0x4f), ReasonLength},
		{"UDP", advert4(), set(9, 17), ReasonNotVRRP},
		{"UDP, IPv6", advert6(), set(6, 17), ReasonNotVRRP},
		{"fragment", advert4(), set(6, 0x20), ReasonNotVRRP},
		{"later fragment", advert4(), set(7, 1), ReasonNotVRRP},
		{"IP checksum", advert4(), set(10, 0), ReasonIPChecksum},
		{"AH before UDP", ah, set(20, 17), ReasonNotVRRP},
		{"AH of another length", ah, set(21, 5), ReasonLength},
		{"AH cut", ah, func(p []byte) []byte { p[3] = 30; return ipsum(p) }, ReasonLength},
		{"message cut", advert4(), func(p []byte) []byte { p[3] = 27; return ipsum(p) }, ReasonLength},
		{"TTL", advert4(), set(8, 254), ReasonTTL},
		{"TTL before checksum", advert6(), func(p []byte) []byte { p[7], p[41] = 254, 9; return p }, ReasonTTL},
		{"version 1", advert4(), set(20, 0x11), ReasonVersion},
		{"version 2, IPv6", advert6(), set(40, 0x21), ReasonVersion},
		{"type 2", advert4(), set(20, 0x32), ReasonType},
		{"count too high", advert4(), set(23, 2), ReasonLength},
		{"count too low", v2, set(23, 0), ReasonLength},
		{"checksum", advert4(), set(21, 52), ReasonChecksum},
		{"checksum, version 2", v2, set(21, 52), ReasonChecksum},
		{"checksum, version 2, last byte", v2, set(39, 1), ReasonChecksum},
		{"checksum, IPv6", advert6(), set(41, 52), ReasonChecksum},
		{"trailer is not in the checksum", signed, set(59, 1), ReasonNone},
		{"trailer cut", signed, func(p []byte) []byte { p[3]--; return ipsum(p) }, ReasonLength},
	} {
		if _, got := Decode(c.change(c.advert.Append(nil))); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDraftVectors has the examples in the appendix of the Internet-Draft about the
// HMAC trailer, draft-cassen-vrrp-auth-hmac.
func TestDraftVectors(t *testing.T) {
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(i)
	}
	for _, c := range []struct{ src, dst, vip, want string }{
		{"198.51.100.10", "198.51.100.20", "192.0.2.100",
			"3133c80100644402c0000264010100006800000080000000" + "1b84bc4e8e43892dc6d98448f8ee2265"},
		{"fe80::10", "fe80::20", "fe80::100",
			"3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000" + "c8c56146ebfd66ee10ec4d8186461b78"},
	} {
		a := Advert{
			Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), TTL: 255,
			Version: 3, Type: 1, VRID: 51, Priority: 200, Interval: time.Second,
			Addresses: []netip.Addr{netip.MustParseAddr(c.vip)}, Checksum: ChecksumPlain,
			Trailer: &Trailer{Scheme: 1, KeyID: 1, Seconds: 0x68000000, Fraction: 0x8000},
		}
		a.SignHMAC(secret[:])
		p := a.Append(nil)
		if got := hex.EncodeToString(p[len(p)-len(c.want)/2:]); got != c.want {
			t.Errorf("from %s:\n%s, want\n%s", c.src, got, c.want)
		}
	}
}

// FuzzDecode: what decodes without complaint encodes to the same bytes, apart from IP
// options and from what stands after the packet.
func FuzzDecode(f *testing.F) {
	for _, r := range recordings(f) {
		if len(r.Packets) > 0 {
			f.Add(r.Packets[len(r.Packets)-1].ipPacket())
		}
	}
	for _, a := range []Advert{advert4(), advert6()} {
		f.Add(a.Append(nil))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, reason := Decode(packet)
		if reason.String() == "unknown reason" {
			t.Fatalf("reason %d has no text", reason)
		}
		if reason != ReasonNone || packet[0] > 0x45 && packet[0] < 0x60 {
			return
		}
		again := a.Append(nil)
		if len(again) > len(packet) {
			t.Fatalf("decoded from %x, encodes as %x", packet, again)
		}
		want := bytes.Clone(packet[:len(again)])
		switch {
		case a.AH != nil: // its reserved field is not kept
			want[22], want[23] = 0, 0
		case a.Src.Is4():
			want[6] &^= 0x80
			want[10], want[11] = again[10], again[11]
		}
		i := len(again) - a.messageLen() + 6 // there are two ones' complement zeros
		if a.Sum == 0xffff {
			again[i], again[i+1] = 0xff, 0xff
		}
		if !bytes.Equal(again, want) {
			t.Fatalf("decoded from %x, encodes as %x", want, again)
		}
	})
}
