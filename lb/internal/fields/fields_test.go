package fields

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestNearest(t *testing.T) {
	names := []string{"interfaces", "workers", "max_connections", "vip", "port"}
	for typed, want := range map[string]string{
		"interface": "interfaces", "Interfaces": "interfaces", "max-connections": "max_connections", "maxconnections": "max_connections",
		"prot": "port", "vpi": "vip", "ip": "vip", "colour": "", "": "", "services": "", "портвейн": "",
	} {
		if got, _ := Nearest(typed, names); got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

func TestDurationEndsWithWhatIsNotZero(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "5s": 5 * time.Second, "1m": time.Minute, "1m30s": 90 * time.Second, "10m": 10 * time.Minute, "1h": time.Hour, "100h": 100 * time.Hour,
		"1h0m1s": time.Hour + time.Second, "1h1m": time.Hour + time.Minute, "1.5s": 1500 * time.Millisecond, "-2m": -2 * time.Minute,
		"1h0m0.5s": time.Hour + 500*time.Millisecond, "-2562047h47m16.854775808s": math.MinInt64,
	} {
		got := Duration(d)
		if back, err := time.ParseDuration(got); got != want || back != d || err != nil {
			t.Errorf("%v: got %s, want %s, which is %v, %v", d, got, want, back, err)
		}
	}
}

func TestQuoteIsJSON(t *testing.T) {
	for _, s := range []string{"", "a", `"\/`, "a\nb\tc\rd", "\x00\x1f\x7f\u0085\u009f", "\u2028\u2029\ufeff", "é\U0001F600\ufffd"} {
		var back string
		quoted := Quote(s)
		if err := json.Unmarshal([]byte(quoted), &back); err != nil || back != s {
			t.Errorf("%q: %s is %q, %v", s, quoted, back, err)
		}
		for _, r := range quoted {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q: %s has a control character", s, quoted)
			}
		}
	}
}
