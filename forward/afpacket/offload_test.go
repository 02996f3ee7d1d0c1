package afpacket

import (
	"encoding/binary"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/seeded"
	"pgregory.net/rapid"
)

// virtio 1.2 §5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
func TestOffloadIsVirtioNetHdr(t *testing.T) {
	o := forward.Offload{NeedsCsum: true, GSO: forward.GSOTCPv6, HdrLen: 74, GSOSize: 1440, CsumStart: 54, CsumOffset: 16}
	want := []byte{1, 4}
	for _, v := range []uint16{74, 1440, 54, 16} {
		want = binary.NativeEndian.AppendUint16(want, v)
	}
	got := make([]byte, vnetLen)
	if encodeOffload(got, &o); string(got) != string(want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if back := decodeOffload(want); back != o {
		t.Errorf("got %+v, want %+v", back, o)
	}
}

func TestOffloadSurvivesAPort(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		word := rapid.Uint16()
		o := forward.Offload{
			NeedsCsum: rapid.Bool().Draw(t, "needs"), DataValid: rapid.Bool().Draw(t, "valid"),
			GSO:    forward.GSOType(rapid.Byte().Draw(t, "gso")),
			HdrLen: word.Draw(t, "len"), GSOSize: word.Draw(t, "size"),
			CsumStart: word.Draw(t, "start"), CsumOffset: word.Draw(t, "offset"),
		}
		h := []byte("what was here before")
		encodeOffload(h, &o)
		o.DataValid = false // not sent
		if got := decodeOffload(h); got != o {
			t.Fatalf("got %+v, want %+v", got, o)
		}
	})
}
