package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// argsVariable makes the test binary be golb, for tests that need a process.
const argsVariable = "GOLB_TEST_ARGS"

func TestMain(m *testing.M) {
	if args := os.Getenv(argsVariable); args != "" {
		os.Exit(execute(context.Background(), strings.Fields(args), os.Stdout, os.Stderr))
	}
	lab.Main(m)
}

// golb runs a command line in this process.
func golb(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// write makes a file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "golb.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodesAndOutput(t *testing.T) {
	file := write(t, minimalConfig)
	bad := write(t, strings.ReplaceAll(minimalConfig, "port: 80", "port: 70000"))
	tests := []struct {
		args           string
		code           int
		stdout, stderr string // must be contained; "" means that nothing is printed
	}{
		{"", exitOK, "golb run golb.yaml", ""},
		{"--version", exitOK, "golb v", ""},
		{"help nope", exitUsage, "", `unknown command "nope" for "golb"`},
		{"help alert nope", exitUsage, "", `unknown command "nope" for "golb alert"`},
		{"help alert test", exitOK, "every recipient", ""},
		{"completion tcsh", exitUsage, "", `unknown command "tcsh" for "golb completion"`},
		{"completion bash", exitOK, "complete", ""},
		{"weight s1", exitUsage, "", "WEIGHT must be given"},
		{"weight s1 -1", exitUsage, "", "weight -1: allowed: 0 to 65535"},
		{"weight s1 70000", exitUsage, "", `weight "70000": allowed: 0 to 65535`},
		{"drain", exitUsage, "", "SERVER must be given"},
		{"agent --listen foo", exitUsage, "", `--listen "foo": allowed: ADDRESS:PORT`},
		{"run --socket-group nobody-has-this " + file, exitUsage, "", "no such group"},
		{"--help", exitOK, "Exit codes:", ""},
		{"help run", exitOK, "SIGHUP", ""},
		{"run --help", exitOK, "CAP_NET_RAW", ""},
		{"version", exitOK, "golb ", ""},
		{"check --host=false " + file, exitOK, file + ": ok: 1 service, 2 servers, on eth0\n", ""},
		{"check --host=false " + bad, exitFailed, "", bad + `:4:13: services[0].port: "70000": out of range; allowed: a whole number, 0 to 65535` + "\n"},
		{"check " + filepath.Join(t.TempDir(), "none"), exitFailed, "", "no such file"},
		{"run -c " + bad, exitFailed, "", `"level":"ERROR","msg":"out of range","file":"` + bad + `","line":4,"column":13,"path":"services[0].port","value":"70000"`},
		{"chekc", exitUsage, "", "unknown command \"chekc\" for \"golb\"\n\nDid you mean this?\n\tcheck"},
		{"check", exitUsage, "", "FILE must be given, where there is no /etc/golb.yaml"},
		{"check a b", exitUsage, "", "see golb check --help"},
		{"check --hots a", exitUsage, "", "unknown flag: --hots"},
		{"run", exitUsage, "", "FILE must be given, where there is no /etc/golb.yaml"},
		{"run x -c " + file, exitUsage, "", "one config is allowed"},
		{"run " + bad, exitFailed, "", `"msg":"out of range"`},
		{"run -c " + file + " --log-level loud", exitUsage, "", "loud"},
		{"version now", exitUsage, "", "see golb version --help"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := golb(t, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, o := range []struct{ name, got, want string }{{"stdout", stdout, tt.stdout}, {"stderr", stderr, tt.stderr}} {
				if o.want == "" && o.got != "" || !strings.Contains(o.got, o.want) {
					t.Errorf("%s: got %q, want %q", o.name, o.got, o.want)
				}
			}
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	_, text, _ := golb(t, "--help")
	for _, want := range []string{"golb demo", "golb check golb.yaml", "golb run golb.yaml", minimalConfig, "\n  0  ", "\n  1  ", "\n  2  "} {
		if !strings.Contains(text, want) {
			t.Errorf("help lacks %q", want)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 90 {
			t.Errorf("long line: %s", line)
		}
	}
}

func TestCheckAcceptsTheExample(t *testing.T) {
	const path = "../../examples/golb.yaml"
	code, stdout, stderr := golb(t, "check", "--host=false", path)
	if code != exitOK || stdout != path+": ok: 4 services, 7 servers, on eth0\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// labHost is a host with 192.0.2.1/24 on eth0.
func labHost(t *testing.T) *lab.Host {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host, err := l.Host("golb")
	if err != nil {
		t.Fatal(err)
	}
	sw, err := l.Switch("sw")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Attach(host, sw, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}); err != nil {
		t.Fatal(err)
	}
	return host
}

func TestCheckFindsWhatDoesNotFitTheHost(t *testing.T) {
	file := write(t, `interfaces: [eth0, nosuch0]
services:
  - vip: 192.0.2.1
    port: 70000
    servers: [{address: 10.0.0.1}]
`)
	const local = `:3:10: services[0].vip: "192.0.2.1": a local address, on interface eth0; allowed: an address that no interface of this host has; golb answers for it itself`
	const port = `:4:11: services[0].port: "70000": out of range; allowed: a whole number, 0 to 65535`
	for host, want := range map[string][]string{"true": {local, port}, "false": {port}} {
		var code int
		var stdout, stderr string
		err := labHost(t).Do(func() error {
			code, stdout, stderr = golb(t, "check", "--host="+host, file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if all := file + strings.Join(want, "\n"+file) + "\n"; code != exitFailed || stdout != "" || stderr != all {
			t.Errorf("--host=%s: exit code %d, output %q, got\n%swant\n%s", host, code, stdout, stderr, all)
		}
	}
}

// TestCheckWarnsOfWhatRunStartsWithout: it is a mistake only where the command line says so.
func TestCheckWarnsOfWhatRunStartsWithout(t *testing.T) {
	file := write(t, `interfaces: [eth0, nosuch0]
services:
  - vip: 192.0.2.100
    port: 80
    servers: [{address: 192.0.2.11}]
`)
	for strict, want := range map[string]int{"--strict=false": 0, "--strict": exitFailed} {
		var code int
		var stderr string
		err := labHost(t).Do(func() error {
			code, _, stderr = golb(t, "check", strict, file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if warning := file + ": warning: interface nosuch0 is missing\n"; code != want || !strings.HasPrefix(stderr, warning) {
			t.Errorf("%s: exit code %d, want %d; %q", strict, code, want, stderr)
		}
	}
}

func TestVersionLine(t *testing.T) {
	built := func(module string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: module}, Settings: settings}
	}
	commit, clean, changed := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}, debug.BuildSetting{Key: "vcs.modified", Value: "false"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	toolchain := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, ""},
		{built(version), ""},
		{built("(devel)", commit, clean), ", commit abc"},
		{built("v0.0.0-20260102030405-abcabcabcabc+dirty", changed, commit), ", commit abc with changes"},
		{built("v0.1.1-0.20260102030405-abcabcabcabc"), ", module v0.1.1-0.20260102030405-abcabcabcabc"},
	} {
		if got, want := versionLine(c.info), "golb "+version+" ("+toolchain+c.want+")"; got != want {
			t.Errorf("%+v: %q, want %q", c.info, got, want)
		}
	}
}

func TestVersionIsTheNewestInTheChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	newest := regexp.MustCompile(`(?m)^## (v\S+)`).FindSubmatch(text)
	if newest == nil || string(newest[1]) != version {
		t.Errorf("CHANGELOG.md has %q, golb version %s", newest, version)
	}
}

func TestSummaryCounts(t *testing.T) {
	c := lb.Config{Interfaces: []string{"a", "b"}, Services: make([]lb.Service, 2)}
	if got, want := summary(&c), "2 services, 0 servers, on a, b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckRefusesWhatRunWould(t *testing.T) {
	host := labHost(t)
	mistakes := write(t, `interfaces: [eth0]
services:
  - vip: 192.0.2.100
    port: 80
    check: {type: external, command: /nonexistent/check}
    servers: [{address: 192.0.2.1}, {address: 192.0.2.11}]
alerts:
  commands: [{command: /nonexistent/alert}]
`)
	warned := write(t, `interfaces: [eth0]
services:
  - vip: 192.0.2.100
    port: 53
    protocol: udp
    one_packet: true
    servers: [{address: 203.0.113.11}]
`)
	for file, want := range map[string][]string{
		mistakes: {`services[0].check.command: "/nonexistent/check": `, `services[0].servers[0].address: "192.0.2.1": `, `alerts.commands[0].command: "/nonexistent/alert": `},
		warned:   {"warning: services[0].scheduler: wlc counts connections", "warning: services[0].servers[0].address: 203.0.113.11: no route"},
	} {
		var code int
		var stderr string
		if err := host.Do(func() error {
			code, _, stderr = golb(t, "check", file)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if wantCode := map[string]int{mistakes: exitFailed, warned: exitOK}[file]; code != wantCode {
			t.Errorf("exit code %d, want %d: %s", code, wantCode, stderr)
		}
		for _, text := range want {
			if !strings.Contains(stderr, text) {
				t.Errorf("it does not say %q: %s", text, stderr)
			}
		}
		if lines := strings.Count(stderr, "\n"); lines != len(want) {
			t.Errorf("%d lines, want %d: %s", lines, len(want), stderr)
		}
	}
}
