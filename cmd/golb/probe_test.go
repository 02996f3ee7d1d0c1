package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/health"
)

// listenTCP returns the address of a listener that nobody accepts from: the host
// completes connections, and says nothing.
func listenTCP(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// refusingAddress returns an address that resets connections: the port is taken, but
// nobody listens, so no other program can come to listen there.
func refusingAddress(t *testing.T) string {
	t.Helper()
	conn, err := net.Dial("tcp", listenTCP(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func serveHTTP(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/check.txt":
			fmt.Fprintf(w, "<b>OK</b> %s %s", r.Header.Get("X-A"), r.Header.Get("X-B"))
		case "/moved":
			w.WriteHeader(http.StatusMovedPermanently)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestProbeVerdicts(t *testing.T) {
	web, silent, closed := serveHTTP(t), listenTCP(t), refusingAddress(t)
	script := filepath.Join(t.TempDir(), "external")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$*\"\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, args string
		reason     string // of down; "" means up
	}{
		{"a port that accepts", "tcp " + silent, ""},
		{"a port that accepts, by ldirectord's word", "connect " + silent, ""},
		{"a boolean key without a value", "tcp --reset " + silent, ""},
		{"a boolean key with a value", "tcp --reset=false " + silent, ""},
		{"a port that refuses", "tcp " + closed, "connect to " + closed + ": connection refused"},
		{"a page", "http " + web + " --path /check.txt --expect OK --timeout 3s", ""},
		{"a page, by ldirectord's words", "http " + web + " --request /check.txt --receive OK", ""},
		{"options before the type", "--timeout 3s http " + web + " --path /check.txt", ""},
		{"a list", "http " + web + " --path /check.txt --header X-A:1 --header X-B:2 --contains", ""},
		{"a wrong status", "http " + web + " --path /none", "got 404"},
		{"a status that is right here", "http " + web + " --path /moved --status 300-302", ""},
		{"a wrong body", "http " + web + " --path /check.txt --contains FAIL", "FAIL"},
		{"silence", "http " + silent + " --timeout 50ms", "no answer in time"},
		{"always up", "on", ""},
		{"always up, whatever the target", "on no-such-host.invalid:80", ""},
		{"always down", "off 127.0.0.1:80", "off by configuration"},
		{"a command with a service", "external 127.0.0.1:81 --command " + script + " --service 192.0.2.1:80",
			script + `: got exit status 3, want exit status 0: "192.0.2.1 80 127.0.0.1 81"`},
		{"a command without", "external 127.0.0.1 --command " + script,
			script + `: got exit status 3, want exit status 0: "0 0 127.0.0.1 0"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"probe"}, strings.Fields(tt.args)...)
			if tt.name == "a list" {
				args = append(args, "OK</b> 1 2")
			}
			code, stdout, stderr := golb(t, args...)
			wantCode, want := exitOK, `^up in [0-9.]+(s|ms|µs)\n$`
			if tt.reason != "" {
				wantCode, want = exitFailed, `^down in [0-9.]+(s|ms|µs): [^\n]*`+regexp.QuoteMeta(tt.reason)+`[^\n]*\n$`
			}
			if code != wantCode || !regexp.MustCompile(want).MatchString(stdout) || stderr != "" {
				t.Errorf("exit code %d, want %d\nstdout %q\nwant   %s\nstderr %q", code, wantCode, stdout, want, stderr)
			}
		})
	}
}

func TestProbeJSON(t *testing.T) {
	web, closed := serveHTTP(t), refusingAddress(t)
	tests := []struct {
		args string
		want map[string]any
	}{
		{"http " + web + " --path /check.txt", map[string]any{"type": "http", "target": web, "up": true, "reason": ""}},
		{"connect " + closed, map[string]any{"type": "tcp", "target": closed, "up": false, "reason": "connect to " + closed + ": connection refused"}},
		{"off", map[string]any{"type": "off", "target": "", "up": false, "reason": "off by configuration"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := golb(t, append([]string{"probe", "--json"}, strings.Fields(tt.args)...)...)
			var got map[string]any
			if err := json.Unmarshal([]byte(stdout), &got); err != nil || strings.Count(stdout, "\n") != 1 || stderr != "" {
				t.Fatalf("%v: stdout %q, stderr %q", err, stdout, stderr)
			}
			if ms, ok := got["ms"].(float64); !ok || ms < 0 {
				t.Errorf("ms: %v", got["ms"])
			}
			delete(got, "ms")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if up := code == exitOK; up != tt.want["up"] {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestProbeUsageErrors(t *testing.T) {
	tests := []struct {
		args string
		want string
	}{
		{"", "no such type of check; allowed: dns, external"},
		{"htpp 127.0.0.1:80", `type "htpp": no such type of check; allowed: dns, external`},
		{"htpp 127.0.0.1:80 --path /", `type "htpp": no such type of check; allowed: dns, external`},
		{"--path /", "unknown flag: --path; allowed: --interface, --json, --list, --source, --timeout"},
		{"tcp 127.0.0.1:80 --path /", "unknown flag: --path; allowed: --connects, --interface, --json, --reset, --send_proxy, --source, --timeout"},
		{"tcp", "tcp: HOST:PORT must be given"},
		{"tcp 127.0.0.1", "port: must be given: tcp has no port of its own"},
		{"tcp 127.0.0.1:80 127.0.0.1:81", "tcp: one HOST:PORT, not 2"},
		{"tcp 127.0.0.1:80 --reset false", "--KEY=true"},
		{"tcp 127.0.0.1:80 --reset=maybe", `reset "maybe": not allowed; allowed: true or false`},
		{"tcp 127.0.0.1:http", `port "http": not allowed; allowed: 1 to 65535`},
		{"tcp 127.0.0.1:0", `port "0": not allowed; allowed: 1 to 65535`},
		{"tcp [fe80::1%lo", `target "[fe80::1%lo": allowed: HOST:PORT, an IPv6 address with a port in brackets`},
		{"tcp [fe80::1%lo]", `port: must be given: tcp has no port of its own`},
		{"tcp fe80::x:80", `target "fe80::x:80": allowed: HOST:PORT, an IPv6 address with a port in brackets`},
		{"tcp :80", `target ":80": allowed: HOST:PORT`},
		{"tcp 127.0.0.1:80 --timeout 0", `invalid argument "0" for "--timeout" flag: not allowed; allowed: a time of at least 1ms`},
		{"tcp 127.0.0.1:80 --timeout soon", "allowed: a time of at least 1ms"},
		{"ping", "ping: HOST must be given"},
		{"ping 127.0.0.1:80", `target "127.0.0.1:80": ping has no ports; allowed: HOST`},
		{"ping 127.0.0.1 --size 9000", `size "9000": not allowed; allowed: 16 to 1400`},
		{"http 127.0.0.1 --path http://x/", `path "http://x/": not allowed; allowed: a path, without scheme and host`},
		{"http 127.0.0.1 --path /a --request /b", "path \"[/a /b]\": not a single value"},
		{"http no-such-host.invalid --method EAT", `method "EAT": not allowed; allowed: GET, HEAD, OPTIONS, POST`},
		{"http 127.0.0.1 --path", "flag needs an argument: --path"},
		{"external 127.0.0.1", "command: must be given"},
		{"external 127.0.0.1 --command true --service web", `service "web": not allowed; allowed: ADDRESS:PORT`},
		{"redis 127.0.0.1 --password secret --tls=perhaps", `tls "perhaps": not allowed`},
		{"--list --json", "--json is for a check"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := golb(t, append([]string{"probe"}, strings.Fields(tt.args)...)...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, "secret") {
				t.Errorf("exit code %d, stdout %q\nstderr %q\nwant   %q", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestProbeFailsWhereANameHasNoAddress(t *testing.T) {
	// An empty label is no name, which the resolver knows without asking anyone.
	code, stdout, stderr := golb(t, "probe", "tcp", "no..name:80")
	if code != exitFailed || !regexp.MustCompile(`^down in [0-9.]+(s|ms|µs): lookup no\.\.name: .*\n$`).MatchString(stdout) || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	var v probeResult
	code, stdout, stderr = golb(t, "probe", "--json", "tcp", "no..name:80")
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != exitFailed || v.Up || v.Type != "tcp" || !strings.HasPrefix(v.Reason, "lookup no..name: ") || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestProbeListHasEveryTypeAndKey(t *testing.T) {
	code, stdout, stderr := golb(t, "probe", "--list")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	types := health.NewRegistry(health.Builtin()...).Types()
	sections := strings.Split(stdout, "\n\n")
	if len(sections) != len(types) {
		t.Fatalf("%d sections of %d types", len(sections), len(types))
	}
	for i, typ := range types {
		head, table, _ := strings.Cut(strings.TrimSuffix(sections[i], "\n"), "\n")
		if !strings.HasPrefix(head, typ.Name+" ") || !strings.HasSuffix(head, ": "+typ.About) {
			t.Errorf("%s: head is %q", typ.Name, head)
		}
		for _, also := range typ.Also {
			if !strings.Contains(head, also) {
				t.Errorf("%s: head %q lacks %s", typ.Name, head, also)
			}
		}
		rows := slices.Collect(strings.Lines(table))
		keys := typ.Keys()
		if len(rows) != len(keys) {
			t.Errorf("%s: %d rows of %d keys", typ.Name, len(rows), len(keys))
			continue
		}
		for j, k := range keys {
			def := k.Default
			if def == "" {
				def = "-"
			}
			columns := strings.Fields(rows[j])
			if columns[0] != "--"+k.Name || columns[1] != def || !strings.Contains(rows[j], k.About) {
				t.Errorf("%s: row of %s is %q", typ.Name, k.Name, rows[j])
			}
		}
	}
}

// A key that is called like an option of probe itself could not be given.
func TestProbeOptionsHideNoKey(t *testing.T) {
	for _, typ := range health.NewRegistry(health.Builtin()...).Types() {
		for _, k := range typ.Keys() {
			for _, name := range append([]string{k.Name}, k.Also...) {
				if slices.Contains([]string{"help", "json", "list", "timeout"}, name) {
					t.Errorf("%s has a key %s", typ.Name, name)
				}
			}
		}
	}
}

func TestProbeHelpOfATypeHasItsKeys(t *testing.T) {
	_, text, _ := golb(t, "probe", "http", "--help")
	for _, want := range []string{"golb probe http HOST[:PORT]", "--path value", "(default /)", "also --request", "--timeout duration"} {
		if !strings.Contains(text, want) {
			t.Errorf("help lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "--request value") {
		t.Errorf("help has a key twice:\n%s", text)
	}
}

func TestProbeExampleOfHelpWorks(t *testing.T) {
	_, text, _ := golb(t, "probe", "--help")
	example := regexp.MustCompile(`(?m)^  golb (probe http .* --timeout 1s)$`).FindStringSubmatch(text)
	if example == nil {
		t.Fatalf("no example:\n%s", text)
	}
	line := strings.Replace(example[1], "192.0.2.1:80", serveHTTP(t), 1)
	line = strings.Replace(line, "--timeout 1s", "--timeout 10s", 1) // a busy machine
	if code, stdout, stderr := golb(t, strings.Fields(line)...); code != exitOK {
		t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
	}
}

// A check that is interrupted has no result.
func TestProbeEndsWithItsContext(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done() // the check hangs up
	}))
	defer s.Close()
	root := newRootCommand()
	root.SetArgs([]string{"probe", "http", s.Listener.Addr().String(), "--timeout", "1h"})
	var out strings.Builder
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if err := root.ExecuteContext(ctx); err == nil || err.Error() != "probe: interrupted" || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, out.String())
	}
}

func TestProbeTargets(t *testing.T) {
	web, _ := health.NewRegistry(health.Builtin()...).Find("http")
	for _, tt := range []struct {
		target, host string
		port         uint16
	}{
		{"192.0.2.1", "192.0.2.1", 0},
		{"192.0.2.1:81", "192.0.2.1", 81},
		{"2001:db8::1", "2001:db8::1", 0},
		{"[2001:db8::1]", "2001:db8::1", 0},
		{"[2001:db8::1]:81", "2001:db8::1", 81},
		{"fe80::1%eth0", "fe80::1%eth0", 0},
		{"[fe80::1%eth0]", "fe80::1%eth0", 0},
		{"[fe80::1%eth0]:81", "fe80::1%eth0", 81},
		{"www.example:81", "www.example", 81},
	} {
		host, port, err := parseTarget(web, []string{tt.target})
		if err != nil || host != tt.host || port != tt.port {
			t.Errorf("%s: got %q, %d, %v; want %q, %d", tt.target, host, port, err, tt.host, tt.port)
		}
	}
}

func TestProbeShowsTheRemark(t *testing.T) {
	v := newProbeResult(health.TLSType(), health.Peer{}, health.Result{Latency: time.Millisecond, Remark: "half a handshake"})
	if got, want := v.String(), "up in 1ms: half a handshake"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
