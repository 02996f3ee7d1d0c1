package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/golb/golb/arp/vrrp"
)

const recordedVRRP = repository + "/arp/vrrp/testdata/recordings/"

// watched runs golb vrrp watch --json over a capture.
func watched(t *testing.T, file string) []advertJSON {
	t.Helper()
	code, stdout, stderr := golb(t, "vrrp", "watch", "--json", "--read", file)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	var l []advertJSON
	for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		var s advertJSON
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		l = append(l, s)
	}
	return l
}

func TestVRRPWatchReadsCaptures(t *testing.T) {
	got := watched(t, recordedVRRP+"several-vrids.pcap")
	if len(got) != 25 {
		t.Fatalf("%d adverts, want 25", len(got))
	}
	addr := netip.MustParseAddr
	want := []advertJSON{
		{At: 3.476645, Src: addr("fe80::ff:fe00:a"), Dst: addr("ff02::12"), Version: 3, VRID: 54, Priority: 140, IntervalMS: 1000,
			Addresses: []netip.Addr{addr("fe80::54")}, Auth: "none", Checksum: "pseudo", Valid: true},
		{At: 3.593700, Src: addr("192.0.2.1"), Dst: addr("224.0.0.18"), Version: 2, VRID: 52, Priority: 110, IntervalMS: 1000,
			Addresses: []netip.Addr{addr("192.0.2.102")}, Auth: "pass", Checksum: "plain", Valid: true},
	}
	near := cmpopts.EquateApprox(0, 0.05) // the first packet is not the begin of the recording
	if d := cmp.Diff(want, []advertJSON{got[0], got[3]}, near, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]advertJSON{
		"new-hmac-v2": {Auth: "hmac", Checksum: "plain"}, "v2-auth-ah": {Auth: "ah", Checksum: "plain"},
		"v3-unicast-old-checksum": {Auth: "none", Checksum: "pseudo-multicast"},
	} {
		if got := watched(t, recordedVRRP+name+".pcap")[0]; got.Auth != want.Auth || got.Checksum != want.Checksum || !got.Valid {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVRRPWatchForPeople(t *testing.T) {
	code, stdout, stderr := golb(t, "vrrp", "watch", "--read", recordedVRRP+"v2-one-vip.pcap")
	const want = "192.0.2.1 > 224.0.0.18  version 2  VRID 51  priority 100  every 1s  [192.0.2.100]  auth none  checksum plain  ok\n"
	if code != exitOK || stderr != "" || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// capture is a pcap file of adverts: one that is right and one with another TTL, and
// frames that are none, with a header in an order, a unit of time and a link type.
func capture(order binary.AppendByteOrder, magic, link uint32) []byte {
	a := vrrp.Advert{
		Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("224.0.0.18"), TTL: 255,
		Version: 3, Type: 1, VRID: 7, Priority: 100, Interval: 1500 * time.Millisecond,
	}
	valid := a.Append(nil)
	a.TTL = 1
	frames := [][]byte{{1, 2, 3}, valid, a.Append(nil), valid[:20]}
	b := order.AppendUint32(nil, magic)
	b = append(b, make([]byte, 16)...)
	b = order.AppendUint32(b, link)
	for i, f := range frames {
		if link == linkEthernet {
			f = append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 9, 8, 0}, f...) // VLAN 9
		}
		b = order.AppendUint32(b, 1000+uint32(i))
		b = order.AppendUint32(b, 500)
		b = order.AppendUint32(b, uint32(len(f)))
		b = order.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func TestVRRPWatchReadsEveryKindOfCapture(t *testing.T) {
	for name, b := range map[string][]byte{
		"little endian":    capture(binary.LittleEndian, 0xa1b2c3d4, linkEthernet),
		"big endian":       capture(binary.BigEndian, 0xa1b2c3d4, linkEthernet),
		"nanoseconds":      capture(binary.BigEndian, 0xa1b23c4d, linkEthernet),
		"raw IP":           capture(binary.LittleEndian, 0xa1b2c3d4, linkRaw),
		"frame check, FCS": capture(binary.LittleEndian, 0xa1b2c3d4, linkRaw|0x10000000),
	} {
		file := filepath.Join(t.TempDir(), "c.pcap")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := watched(t, file)
		if len(got) != 3 || !got[0].Valid || got[0].At != 1 || got[0].VRID != 7 || got[0].IntervalMS != 1500 || got[0].Addresses == nil ||
			got[1].Valid || got[1].Reason != "TTL is not 255" || got[2].Valid || got[2].Reason != "wrong length" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVRRPWatchTellsWhatItCannotDo(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	complete := capture(binary.LittleEndian, 0xa1b2c3d4, linkRaw)
	huge := bytes.Clone(complete)
	binary.LittleEndian.PutUint32(huge[32:], 1<<30)
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"vrrp watch", "allowed: one of --interface IF and --read FILE", exitUsage},
		{"vrrp watch --interface a --read b", "allowed: one of", exitUsage},
		{"vrrp watch --interface golb-none", "golb-none: ", exitFailed},
		{"vrrp watch --read " + filepath.Join(dir, "none"), "no such file", exitFailed},
		{"vrrp watch --read " + file("short", complete[:20]), "short: not a pcap file", exitFailed},
		{"vrrp watch --read " + file("other", make([]byte, 30)), "other: not a pcap file: begins with 00000000", exitFailed},
		{"vrrp watch --read " + file("link", capture(binary.LittleEndian, 0xa1b2c3d4, 105)), "link: link type 105: want Ethernet (1) or raw IP (101)", exitFailed},
		{"vrrp watch --read " + file("cut", complete[:len(complete)-1]), "cut: truncated", exitFailed},
		{"vrrp watch --read " + file("cuthead", complete[:30]), "cuthead: truncated", exitFailed},
		{"vrrp watch --read " + file("huge", huge), "huge: a frame of 1073741824 bytes: damaged", exitFailed},
	} {
		code, _, stderr := golb(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %q, want %d and %q", c.args, code, stderr, c.code, c.want)
		}
	}
}
