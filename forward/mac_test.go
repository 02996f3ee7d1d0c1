package forward

import "testing"

func TestMACsAreReadAsTheyAreWritten(t *testing.T) {
	for _, tt := range []struct {
		text string
		want MAC
		ok   bool
	}{
		{"", MAC{}, true},
		{"02:00:5e:0a:fF:01", MAC{2, 0, 0x5e, 0x0a, 0xff, 1}, true},
		{"02:00:5e:0a:ff", MAC{}, false},
		{"02:00:5e:0a:ff:01:02", MAC{}, false},
		{"02-00-5e-0a-ff-01", MAC{}, false},
		{"0g:00:5e:0a:ff:01", MAC{}, false},
		{"02:00:5e:0a:ff:0 ", MAC{}, false},
	} {
		m := MAC{9}
		err := m.UnmarshalText([]byte(tt.text))
		if m != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %v, %v", tt.text, m, err)
		}
		again, _ := m.MarshalText()
		var back MAC
		if err := back.UnmarshalText(again); err != nil || back != m {
			t.Errorf("%q: written as %q, read as %v, %v", tt.text, again, back, err)
		}
	}
}
