package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

// demoResult is what scripts read of golb demo --json.
type demoResult struct {
	Mode    string `json:"mode"`
	VIP     string `json:"vip"`
	Servers []struct {
		Name        string `json:"name"`
		Requests    int    `json:"requests"`
		Bytes       int64  `json:"bytes"`
		Connections int    `json:"connections"`
	} `json:"servers"`
	Requests     int     `json:"requests"`
	Failed       *int    `json:"failed"`
	UploadMbps   float64 `json:"upload_mbps"`
	DownloadMbps float64 `json:"download_mbps"`
	P50          int     `json:"p50_us"`
	P99          int     `json:"p99_us"`
	Failover     struct {
		Killed         string `json:"killed"`
		Fault          string `json:"fault"`
		DetectedMS     int    `json:"detected_ms"`
		FailedRequests *int   `json:"failed_requests"`
	} `json:"failover"`
}

// check holds a result against what the demo was asked for.
func (r *demoResult) check(t *testing.T, mode, vip string, requests int) {
	t.Helper()
	if r.Mode != mode || r.VIP != vip || r.Requests != requests || len(r.Servers) != 3 {
		t.Errorf("got mode %s, vip %s, %d requests, %d servers", r.Mode, r.VIP, r.Requests, len(r.Servers))
	}
	if r.Failed == nil || *r.Failed != 0 || r.Failover.FailedRequests == nil {
		t.Errorf("failed %v, in failover %v", r.Failed, r.Failover.FailedRequests)
	}
	sum := 0
	for i, s := range r.Servers {
		sum += s.Requests
		share, want := float64(s.Requests)/float64(requests), float64(i+1)/6
		if s.Name != fmt.Sprintf("s%d", i+1) || math.Abs(share-want) > 0.01*want || s.Bytes != int64(s.Requests)*4096 || s.Connections < 1 {
			t.Errorf("server %+v has a share of %.4f, want %.4f", s, share, want)
		}
	}
	if sum != requests {
		t.Errorf("servers answered %d requests of %d", sum, requests)
	}
	if r.UploadMbps <= 0 || r.DownloadMbps <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
		t.Errorf("upload %g, download %g Mbit/s, p50 %d, p99 %d µs", r.UploadMbps, r.DownloadMbps, r.P50, r.P99)
	}
	if r.Failover.Killed != "s3" || r.Failover.DetectedMS <= 0 {
		t.Errorf("failover: %+v", r.Failover)
	}
}

// small makes a demo quick: as many requests as share out evenly.
const (
	small         = "-n 1200 --size 4M"
	smallRequests = 1200
)

func TestDemoMeasures(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	for _, mode := range []string{"dsr", "nat", "tun", "gue", "gre"} {
		for flag, vip := range map[string]string{"": "192.0.2.100", "-6": "2001:db8::100"} {
			if testing.Short() && (mode == "gue" || mode == "gre" || flag != "") {
				continue
			}
			t.Run(mode+flag, func(t *testing.T) { testDemo(t, mode, flag, vip) })
		}
	}
}

func TestDemoShowsOtherDeaths(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	for _, flags := range []string{"--mode dsr --fault vip", "--mode nat --fault process", "--mode tun --fault firewall"} {
		t.Run(flags, func(t *testing.T) {
			fields := strings.Fields("demo --json " + small + " " + flags)
			code, stdout, stderr := golb(t, fields...)
			var r demoResult
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatalf("exit code %d, %v\n%s", code, err, stderr)
			}
			if code != exitOK || *r.Failed != 0 || r.Failover.Fault != fields[len(fields)-1] {
				t.Errorf("exit code %d, %d failed, failover %+v\n%s", code, *r.Failed, r.Failover, stderr)
			}
		})
	}
}

func testDemo(t *testing.T, mode, flag, vip string) {
	code, stdout, stderr := golb(t, strings.Fields("demo --json "+small+" --mode "+mode+" "+flag)...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	var r demoResult
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	r.check(t, mode, vip, smallRequests)
	if strings.Count(stdout, "\n") != 1 {
		t.Errorf("more than one line:\n%s", stdout)
	}
}

func TestDemoRefusesWhatItCannotShow(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"demo --mode magic", `"magic": allowed: dsr`},
		{"demo --fault flood", `"flood": allowed: cable`},
		{"demo --mode nat --fault vip", "no VIP"},
		{"demo --size 0", `size: "0": allowed`},
		{"demo --size 10X", `size: "10X": allowed`},
		{"demo --size 9999999999G", "allowed"},
		{"demo -n 0", "requests: 0: allowed"},
		{"demo now", "now"},
	} {
		code, stdout, stderr := golb(t, strings.Fields(tt.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, output %q, errors %q, want %q", tt.args, code, stdout, stderr, tt.want)
		}
	}
}

func TestSizesAreRead(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "64K": 64 << 10, "64k": 64 << 10, "1M": 1 << 20, "2G": 2 << 30} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, error %v", text, got, err)
		}
	}
}

func TestDemoLeavesItsHostAlone(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	before := interfaces(t)
	if code, _, stderr := golb(t, strings.Fields("demo -n 60 --size 1K")...); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if now := interfaces(t); now != before {
		t.Errorf("interfaces before\n%s\nafter\n%s", before, now)
	}
}

// interfaces is the kernel's list of this host's interfaces, without counters.
func interfaces(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, strings.TrimSpace(name))
	}
	return strings.Join(names, " ")
}
