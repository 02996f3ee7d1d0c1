package simulate

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestDescribeReadsWhatIsInside(t *testing.T) {
	const tcp4 = "45000028000540003d068252ac1005050a0000649c41005000000000000000005002200037d80000"
	for name, tc := range map[string]struct{ packet, want string }{
		"TCP":             {tcp4, "IP (tos 0x0, ttl 61, id 5, offset 0, flags [DF], proto TCP (6), length 40) 172.16.5.5.40001 > 10.0.0.100.80: Flags [S], seq 0, win 8192, length 0"},
		"IPv4 in IPv6":    {"600000000028043cfd000009000000000000000000000001fd000009000000000000000000010001" + tcp4, "next-header IPIP (4), length 40) fd00:9::1 > fd00:9::1:1: IP (tos 0x0, ttl 61, id 5"},
		"GRE":             {"60000000002c2f3cfd000009000000000000000000000001fd000009000000000000000000010001" + "00000800" + tcp4, "GREv0, flags 0x00, length 44: IP (tos 0x0, ttl 61, id 5"},
		"GUE":             {"600000000034113cfd000009000000000000000000000001fd000009000000000000000000010001" + "949617c000340000" + "00040000" + tcp4, "fd00:9::1.38038 > fd00:9::1:1.6080: UDP, length 44: GUE IP (tos 0x0, ttl 61, id 5"},
		"an ICMP error":   {"45000044004e00003c01c7e7ac1f00010a0000640304b31700000578450000280009400032068d4e0a000064ac10050500509c410000004d0000004e5010ffff00000000", "unreachable type 3 code 4, mtu 1400, about 10.0.0.100:80 > 172.16.5.5:40001 TCP (6)"},
		"SCTP":            {"45000034000300003d84c1caac1005050a0000649c410f1c00000000c10a6f1b01000014112233440000ffff000a000a00000001", "172.16.5.5.40001 > 10.0.0.100.3868: sctp chunk 1"},
		"a wrong length":  {"4500002900054000", "not an IPv4 or IPv6 packet"},
		"a version":       {"55" + tcp4[2:], "not an IPv4 or IPv6 packet"},
		"what is cut off": {tcp4[:60], "unreadable (bad_length): 4500"},
	} {
		b, err := hex.DecodeString(tc.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(b); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s\nwant %s", name, got, tc.want)
		}
	}
}
