package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/benchmarks/wire/internal/report"
	"github.com/golb/golb/lb/lbtest/lab"
)

// The test's program plays the roles of the lab, as the program itself does.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "role" {
		if err := start(context.Background(), os.Args[1:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	lab.Main(m)
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		text   string
		pid    int
		name   string
		parent int
		ok     bool
	}{
		{"12 (ksoftirqd/0) S 2 0 0 0 -1 69238848", 12, "ksoftirqd/0", 2, true},
		{"7 (a) b (c)) R 3 1", 7, "a) b (c)", 3, true},
		{"7 (a) R", 0, "", 0, false},
		{"7 a R 3", 0, "", 0, false},
		{"x (a) R 3", 0, "a", 3, false},
	} {
		pid, name, parent, ok := parseStat([]byte(c.text))
		if pid != c.pid || name != c.name || parent != c.parent || ok != c.ok {
			t.Errorf("%q: %d %q %d %v", c.text, pid, name, parent, ok)
		}
	}
}

func TestDescendantsAreOfAllGenerations(t *testing.T) {
	got := descendants(map[int]int{1: 0, 5: 1, 6: 5, 7: 5, 8: 6, 9: 1}, 5)
	slices.Sort(got)
	if want := []int{5, 6, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBusyLeavesIdleTimeOut(t *testing.T) {
	got, err := busy([]byte("cpu  1 2 3 1000 2000 4 5 6 7 8\ncpu0 1 2 3 4\n"))
	if want := (1 + 2 + 3 + 4 + 5) * 10 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 x 4 5 6 7 8"} {
		if _, err := busy([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestProcessorTimeOfThisProcessGrows(t *testing.T) {
	before, err := timeOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for now := before; now <= before; { // how long it takes is the machine's affair
		if now, err = timeOf([]int{os.Getpid()}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamModule(t *testing.T) {
	for _, c := range []struct {
		name, built, want string
		fails             bool
	}{
		{"built in", "--prefix=/usr --with-stream --with-threads", "", false},
		{"a module", "--modules-path=/m --with-stream=dynamic", "/m/ngx_stream_module.so", false},
		{"a module that is not here", "--modules-path=/other --with-stream=dynamic", "", true},
		{"modules nowhere", "--with-stream=dynamic", "", true},
		{"only its parts", "--with-stream_ssl_module", "", true},
	} {
		got, err := streamModuleIn(c.built, func(file string) bool { return strings.HasPrefix(file, "/m/") })
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"nftables v1.0.6 (Lester Gooch #5)": "1.0.6", "HAProxy version 2.6.12-1+deb12u4 2023": "2.6.12", "nginx version: nginx/1.22.1": "1.22.1", "none": "",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Every row that this machine has programs for is measured, shortly, in the metrics that differ in what runs.
func TestEveryRowIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("programs of their own, which -short leaves out")
	}
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	chosen := regexp.MustCompile("packets|upload|connections|polling")
	b := &bench{
		options: options{Rounds: 1, Time: 50 * time.Millisecond, Rows: regexp.MustCompile(""), Metrics: chosen, Flows: minFlows},
		dir:     t.TempDir(), table: &report.Table{Columns: columns()},
	}
	if err := b.rounds(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range allRows() {
		to := b.table.Row(r.name)
		if to.Missing != "" {
			t.Logf("%s: %s", r.name, to.Missing)
			continue
		}
		for metric, key := range map[string]string{
			metricPackets: keyRate, metricUpload: keyUpload, metricConnections: keyConnections, metricPolling: keyPoll50,
		} {
			if got := len(to.Values(key)) == 1; got != r.measures(metric) {
				t.Errorf("%s: %s measured: %v, want %v", r.name, metric, got, r.measures(metric))
			} else if got && to.Median(key) <= 0 {
				t.Errorf("%s: %s is %v", r.name, key, to.Median(key))
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "*.pid")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
