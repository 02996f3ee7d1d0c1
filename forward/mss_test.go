package forward

import (
	"bytes"
	"testing"
)

func TestClampMSSReadsOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		options []byte
		want    bool // clamped to 1000
	}{
		"none":                      {nil, false},
		"MSS of 1460":               {[]byte{2, 4, 5, 0xb4}, true},
		"MSS of 1001":               {[]byte{2, 4, 3, 0xe9}, true},
		"MSS of 1000":               {[]byte{2, 4, 3, 0xe8}, false},
		"after no-operation":        {[]byte{1, 1, 1, 2, 4, 5, 0xb4, 0}, true},
		"after window scale":        {[]byte{3, 3, 7, 2, 4, 5, 0xb4, 0}, true},
		"after an empty option":     {[]byte{4, 2, 2, 4, 5, 0xb4, 1, 1}, true},
		"after the end of options":  {[]byte{0, 2, 4, 5, 0xb4, 0, 0, 0}, false},
		"after an option of 0":      {[]byte{3, 0, 2, 4, 5, 0xb4, 0, 0}, false},
		"after an option of 1":      {[]byte{3, 1, 2, 4, 5, 0xb4, 0, 0}, false},
		"after one beyond the end":  {[]byte{3, 9, 2, 4, 5, 0xb4, 0, 0}, false},
		"with a length of 3":        {[]byte{2, 3, 5, 0}, false},
		"with a length of 5":        {[]byte{2, 5, 5, 0xb4, 0, 0, 0, 0}, false},
		"cut after its kind":        {[]byte{1, 1, 1, 2}, false},
		"its length beyond the end": {[]byte{1, 1, 2, 4}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tcp4Spec
			s.tcpOptions = tt.options
			f := frameOf(s.build(), 0)
			p := mustParse(t, f)
			before := bytes.Clone(f.Bytes())
			if got := ClampMSS(f, p, 1000); got != tt.want || got == bytes.Equal(f.Bytes(), before) {
				t.Errorf("clamped: %v, want %v", got, tt.want)
			}
			check(t, f)
			if tt.want && OfferedMSS(f, p) != 1000 {
				t.Errorf("offers %d", OfferedMSS(f, p))
			}
		})
	}
}

func TestClampMSSChangesOnlySYNs(t *testing.T) {
	ack, udp := tcp4Spec, udp4Spec
	ack.flags, ack.tcpOptions = FlagACK, []byte{2, 4, 5, 0xb4}
	udp.payload = bytes.Repeat([]byte{2, 4, 5, 0xb4}, 10)
	for name, b := range map[string][]byte{"ACK": ack.build(), "UDP": udp.build(), "later fragment": edit(ack, 6, 0, 7, 9, 33, FlagSYN)} {
		f := frameOf(b, 0)
		if ClampMSS(f, mustParse(t, f), 1000) || !bytes.Equal(packetOf(f), b) {
			t.Errorf("%s was changed", name)
		}
	}
}
