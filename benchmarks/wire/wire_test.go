package main

import (
	"errors"
	"flag"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/golb/golb/benchmarks/wire/internal/load"
	"github.com/golb/golb/benchmarks/wire/internal/report"
	"github.com/golb/golb/forward"
)

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-rounds", "5", "-time", "1s", "-rows", "golb|kernel", "-flows", "700", "-out", "x", "-readme"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.Rounds != 5 || o.Time != time.Second || o.Flows != 700 || o.Out != "x" || !o.Readme {
		t.Errorf("%+v", o)
	}
	for name, want := range map[string]bool{rowDSR: true, rowKernel: true, rowNginx: false} {
		if o.Rows.MatchString(name) != want {
			t.Errorf("row %s: want %v", name, want)
		}
	}
	for _, bad := range []string{"-rounds=0", "-time=1ms", "-time=1h", "-flows=127", "-flows=64001", "-rows=(", "-metrics=(", "more"} {
		if _, err := parseOptions([]string{bad}, io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	if _, err := parseOptions([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestOrdersArriveAsTheyWereGiven(t *testing.T) {
	want := order{
		Role: roleGolb, Interfaces: []string{"eth0", "eth1"}, Method: "nat", VIP: netip.MustParseAddrPort("192.0.2.100:80"),
		Servers: []netip.Addr{netip.MustParseAddr("10.0.0.11")}, To: forward.MAC{2, 0, 0, 0, 0, 9}, Workers: 2, Poll: true,
		Mode: load.Upload, Conns: 3, Threads: 4, Flows: 5, CPU: 1, Profile: "p",
	}
	text, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseOrder(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if _, err := parseOrder("{"); err == nil {
		t.Error("no error for half an order")
	}
}

func TestGoalsNameRowsAndColumnsThatExist(t *testing.T) {
	table := &report.Table{Columns: columns()}
	for _, r := range allRows() {
		row := &report.Row{Name: r.name}
		for _, c := range columns() {
			row.Add(c.Key, 2)
		}
		table.Rows = append(table.Rows, row)
	}
	table.Row(rowDirect).Add(keyP50, -1) // a median of 0.5
	for _, g := range goals(table) {
		if math.IsNaN(g.Ratio) {
			t.Errorf("%s compares what is not there", g.Title)
		}
	}
}

func TestOutcomeGoesIntoFilesAndDocuments(t *testing.T) {
	t.Chdir(t.TempDir())
	row := &report.Row{Name: rowDSR}
	row.Add(keyRate, 123456)
	row.Add(keyP50, 7.5)
	o := outcome{
		options: options{Rounds: 2, Time: time.Second, Out: "benchmarks/results", Readme: true, Rows: regexp.MustCompile("")},
		table:   &report.Table{Columns: columns(), Rows: []*report.Row{row, {Name: rowNginx, Missing: "not installed"}}},
		command: "the command", machine: "a machine", others: 0.126, when: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if err := o.write(io.Discard); err == nil {
		t.Error("no error though there is no README.md")
	}
	for _, file := range []string{"README.md", "benchmarks/README.md"} {
		doc := "before\n<!-- wire begin -->\nold\n<!-- wire end -->\nafter\n"
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var printed strings.Builder
	if err := o.write(&printed); err != nil {
		t.Fatal(err)
	}
	for file, plot := range map[string]string{"README.md": "(benchmarks/results/wire.svg)", "benchmarks/README.md": "(results/wire.svg)"} {
		text := read(t, file)
		for _, want := range []string{"before\n", "after\n", plot, "`the command`\n\n2026-01-02, on a machine", "123,456", "7.5", "took 13 % of", "nginx stream: not measured, not installed"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %q:\n%s", file, want, text)
			}
		}
		if strings.Contains(text, "old") {
			t.Errorf("%s still has the old section", file)
		}
	}
	if !strings.Contains(printed.String(), "123,456") {
		t.Errorf("printed: %s", printed.String())
	}
	if csv := read(t, filepath.Join("benchmarks", "results", "wire.csv")); !strings.Contains(csv, "golb DSR,packets,1/s,123456,123456") {
		t.Errorf("CSV: %s", csv)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
