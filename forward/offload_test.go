package forward

import "testing"

func TestRewritersLeaveChecksumsPartial(t *testing.T) {
	for name, s := range map[string]spec{"TCP": tcp4Spec, "TCP over IPv6": tcp6Spec, "UDP": udp4Spec, "UDP over IPv6": udp6Spec} {
		for _, rewrite := range []string{"DSR", "NAT"} {
			f := frameOf(s.build(), 0)
			makePartial(t, f)
			p := mustParse(t, f)
			before := f.Offload
			if rewrite == "DSR" {
				DSR(f, p, macC, macB)
			} else {
				to := family(p)
				mustDo(t, NATRequest(f, p, &to, 8080))
			}
			if f.Offload != before {
				t.Errorf("%s, %s: %+v, before %+v", rewrite, name, f.Offload, before)
			}
			check(t, f)
		}
	}
}

// A kernel would complete it as an Internet checksum.
func TestRewritersCompleteAPartialSCTPChecksum(t *testing.T) {
	f := frameOf(sctpSpec.build(), 0)
	makePartial(t, f)
	p := mustParse(t, f)
	DSR(f, p, macC, macB)
	if f.Offload != (Offload{}) {
		t.Errorf("%+v", f.Offload)
	}
	check(t, f)
}

// In a tunnel that passes through, the partial checksum may be the inner packet's. Then the
// outer one is complete, and covers the ports.
func TestNATUpdatesAChecksumOutsideAPartialOne(t *testing.T) {
	f := frameOf(udp4Spec.build(), 0)
	f.Offload = Offload{NeedsCsum: true, CsumStart: 42, CsumOffset: 6}
	p := mustParse(t, f)
	before := f.Offload
	mustDo(t, NATRequest(f, p, &server4, 5353))
	udp := f.Bytes()[p.L4:p.End]
	if sum := refSum(refPseudo(p.Src, p.Dst, ProtoUDP, len(udp)), udp); sum != 0xffff || f.Offload != before {
		t.Errorf("sum %04x, want ffff; %+v", sum, f.Offload)
	}
}
