package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	tests := []struct {
		line string
		want Report
		err  string
	}{
		{"75%", Report{Percent: 75, MaxConn: -1}, ""},
		{"0", Report{Percent: 0, MaxConn: -1}, ""},
		{"150%", Report{Percent: 150, MaxConn: -1}, ""},
		{"up 50%", Report{Percent: 50, MaxConn: -1, Health: Up, Word: "up"}, ""},
		{"DRAIN", Report{Percent: -1, MaxConn: -1, Admin: Drain}, ""},
		{"maint", Report{Percent: -1, MaxConn: -1, Admin: Maint}, ""},
		{"ready,up,100%,maxconn:30", Report{Percent: 100, MaxConn: 30, Admin: Ready, Health: Up, Word: "up"}, ""},
		{"down # disk full", Report{Percent: -1, MaxConn: -1, Health: Down, Word: "down", Reason: "disk full"}, ""},
		{"fail", Report{Percent: -1, MaxConn: -1, Health: Down, Word: "fail"}, ""},
		{"down # \x1b[31mdisk\x1b]0;t\a full\u202e\r", Report{Percent: -1, MaxConn: -1, Health: Down, Word: "down", Reason: "[31mdisk ]0;t full"}, ""},
		{"75% # " + strings.Repeat("x", 1000), Report{Percent: 75, MaxConn: -1, Reason: strings.Repeat("x", maxReason) + "..."}, ""},
		{"\x1b[31m", Report{}, `agent: got "\x1b[31m": "\x1b[31m" is no word of an agent, and no number from 0 to 10000`},
		{"failed#x", Report{Percent: -1, MaxConn: -1, Health: Down, Word: "failed", Reason: "x"}, ""},
		{"stopped\r", Report{Percent: -1, MaxConn: -1, Health: Down, Word: "stopped"}, ""},
		{"", Report{}, `agent: got "", want a percentage or a word`},
		{"# why", Report{}, `agent: got "# why", want a percentage or a word`},
		{"hello", Report{}, `agent: got "hello": "hello" is no word of an agent, and no number from 0 to 10000`},
		{"-1", Report{}, `agent: got "-1": "-1" is no word of an agent, and no number from 0 to 10000`},
		{"10001%", Report{}, `agent: got "10001%": "10001" is no word of an agent, and no number from 0 to 10000`},
		{"maxconn:x", Report{}, `agent: got "maxconn:x": "x" is no word of an agent, and no number from 0 to 2147483647`},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got, err := Parse(tt.line)
			if reason(err) != tt.err {
				t.Errorf("error %v, want %s", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Whatever an agent sends, a report is within its bounds, and texts are printable.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"75%", "up 50% # load 1.5", "ready,drain maxconn:30", "DOWN#\x1b[31mdisk", "\xff\u202e", "99999999999999999999%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := Parse(line)
		if err == nil && (r.Percent < -1 || r.Percent > 10000 || r.MaxConn < -1 || !isPrintable(r.Reason) || !isPrintable(r.Word)) {
			t.Errorf("report %+v", r)
		}
		if err != nil && !isPrintable(err.Error()) {
			t.Errorf("error %q", err)
		}
	})
}

func TestWeights(t *testing.T) {
	tests := []struct {
		percent, configured int
		weight, idle        int
	}{
		{-1, 7, 7, 7},
		{100, 1, 1, 10},
		{50, 1, 1, 5},
		{75, 10, 8, 75},
		{1, 1, 1, 1},
		{4, 10, 1, 4},
		{0, 10, 1, 1},
		{0, 0, 0, 0},
		{50, 0, 0, 0},
		{200, 10, 20, 100},
		{100, 65535, 65535, 65535},
	}
	for _, tt := range tests {
		r := Report{Percent: tt.percent}
		if got := r.Weight(tt.configured); got != tt.weight {
			t.Errorf("%d%% of %d: got %d, want %d", tt.percent, tt.configured, got, tt.weight)
		}
		if got := r.IdleWeight(tt.configured); got != tt.idle {
			t.Errorf("%d%% idle, configured %d: got %d, want %d", tt.percent, tt.configured, got, tt.idle)
		}
	}
}

// sender is an agent that sends the text and closes.
func sender(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

func TestClient(t *testing.T) {
	request := func(then string) func(net.Conn) {
		return func(conn net.Conn) {
			b := make([]byte, 1000)
			n, _ := conn.Read(b)
			if !strings.HasPrefix(string(b[:n]), "GET /load HTTP/1.1\r\nHost: 192.0.2.1:3333\r\n") {
				t.Errorf("request %q", b[:n])
			}
			_, _ = io.WriteString(conn, then)
		}
	}
	tests := []struct {
		name   string
		client Client
		serve  func(net.Conn)
		want   string
		report int // percent
	}{
		{"TCP", Client{}, sender("42%\n"), "", 42},
		{"TCP, no line end", Client{}, sender("42"), "", 42},
		{"HTTP", Client{HTTP: true, Path: "/load"}, request("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n42%"), "", 42},
		{"HTTP error", Client{HTTP: true, Path: "/load"}, request("HTTP/1.1 500 Internal Server Error\r\n\r\n"), "agent: got 500 Internal Server Error, want 200", 0},
		{"HTTP error with escapes", Client{HTTP: true, Path: "/load"}, request("HTTP/1.1 500 \x1b[31mred\r\n\r\n"), "agent: got 500 [31mred, want 200", 0},
		{"HTTP, another protocol with escapes", Client{HTTP: true, Path: "/load"}, request("220 \x1b[31m\r\n"), `agent: malformed HTTP status code "\x1b[31m"`, 0},
		{"down", Client{}, sender("down # disk full\n"), `agent reports down: "disk full"`, -1},
		{"nonsense", Client{}, sender("hello\n"), `agent: got "hello": "hello" is no word of an agent, and no number from 0 to 10000`, 0},
		{"silent", Client{}, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "agent: no answer in time", 0},
		{"closes", Client{}, sender(""), "agent: connection closed", 0},
		{"slow", Client{}, func(conn net.Conn) {
			for _, c := range "42%     \n" {
				time.Sleep(500 * time.Millisecond)
				_, _ = io.WriteString(conn, string(c))
			}
		}, "agent: no answer in time", 0},
		{"endless", Client{}, func(conn net.Conn) {
			for n := 0; ; n += 100 {
				if _, err := io.WriteString(conn, strings.Repeat("x", 100)); err != nil {
					if n > 4*maxAnswer {
						t.Errorf("%d bytes read", n)
					}
					return
				}
			}
		}, "agent: no answer in the first 4096 bytes", 0},
		{"HTTP, silent", Client{HTTP: true}, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "agent: no answer in time", 0},
		{"HTTP, closes", Client{HTTP: true, Path: "/load"}, request(""), "agent: connection closed", 0},
		{"HTTP, another protocol", Client{HTTP: true, Path: "/load"}, request("220 mx\r\n"), `agent: malformed HTTP status code "mx"`, 0},
		{"HTTP, endless head", Client{HTTP: true, Path: "/load"}, request("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-More: x\r\n", 1000)),
			"agent: no answer in the first 4096 bytes", 0},
		{"HTTP, slow", Client{HTTP: true, Path: "/load"}, func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, c := range "HTTP/1.1 200 OK" {
				time.Sleep(500 * time.Millisecond)
				_, _ = io.WriteString(conn, string(c))
			}
		}, "agent: no answer in time", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := 0
				c := tt.client
				c.Addr = netip.MustParseAddrPort("192.0.2.1:3333")
				c.OnReport = func(r Report) { got = r.Percent }
				c.Dial = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() { defer far.Close(); tt.serve(far) }()
					return near, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if r := reason(c.Check(ctx)); r != tt.want {
					t.Errorf("got %s, want %s", r, tt.want)
				}
				if got != tt.report {
					t.Errorf("report of %d%%, want %d%%", got, tt.report)
				}
				time.Sleep(10 * time.Second)
			})
		})
	}
}

// What this host lacks can be told from what the agent does.
func TestClientReturnsTheSystemsError(t *testing.T) {
	c := &Client{Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}}
	if err := c.Check(t.Context()); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v", err)
	}
}

func TestClientOfAnAgentThatRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close()
	c := &Client{Addr: addr}
	if got, want := reason(c.Check(t.Context())), "agent: connect to "+addr.String()+": connection refused"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// fixed is a Source with a fixed result.
type fixed struct {
	n   float64
	err error
}

func (f fixed) Free(context.Context) (float64, error) { return f.n, f.err }

func TestAnswerIsTheScarcest(t *testing.T) {
	broken := fixed{err: errors.New("no\nsensor")}
	tests := []struct {
		name    string
		sources []Source
		want    string
	}{
		{"one", []Source{fixed{n: 41.6}}, "42%"},
		{"least", []Source{fixed{n: 90}, fixed{n: 10}, fixed{n: 50}}, "10%"},
		{"one fails", []Source{broken, fixed{n: 50}}, "50%"},
		{"all fail", []Source{broken}, "down # no sensor"},
		{"none", nil, "down # no sources"},
		{"beyond limits", []Source{fixed{n: 150}, fixed{n: -3}}, "0%"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (&Server{Sources: tt.sources}).Answer(t.Context()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnswerHasUpAfterDown(t *testing.T) {
	source := &fixed{err: errors.New("no sensor")}
	s := &Server{Sources: []Source{source}, Every: time.Nanosecond}
	for _, step := range []struct {
		now  fixed
		want string
	}{{fixed{n: 50}, "50%"}, {fixed{err: errors.New("no sensor")}, "down # no sensor"}, {fixed{n: 50}, "up 50%"}, {fixed{n: 60}, "up 60%"}} {
		*source = step.now
		time.Sleep(time.Microsecond)
		if got := s.Answer(t.Context()); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

func TestServerAndClient(t *testing.T) {
	for _, overHTTP := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Sources: []Source{fixed{n: 33}}, HTTP: overHTTP}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Serve(ctx, l) }()
		silent, err := net.Dial("tcp", l.Addr().String()) // must not hold up the others, nor the end
		if err != nil {
			t.Fatal(err)
		}
		c := &Client{Addr: l.Addr().(*net.TCPAddr).AddrPort(), HTTP: overHTTP}
		r, err := c.Query(ctx)
		if err != nil || r.Percent != 33 {
			t.Errorf("HTTP %v: report %+v, %v", overHTTP, r, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = silent.Close()
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cpu := &CPU{stat: write("stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")}
	tests := []struct {
		name   string
		source Source
		want   float64
		err    string
	}{
		{"CPU since the start", cpu, 80, ""},
		{"CPU, no time has passed", cpu, 0, cpu.stat + ": no time has passed"},
		{"CPU, nonsense", &CPU{stat: write("bad", "intr 1\n")}, 0, filepath.Join(dir, "bad") + ": no line of all processors"},
		{"memory", &Memory{meminfo: write("meminfo", "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    250 kB\n")}, 25, ""},
		{"command", &Command{Program: "/bin/sh", Args: []string{"-c", "echo 12.5% idle"}}, 12.5, ""},
		{"command that fails", &Command{Program: "/bin/false"}, 0, "/bin/false: exit status 1"},
		{"command without output", &Command{Program: "/bin/true"}, 0, `/bin/true: got "", want a number from 0 to 100`},
		{"command that hangs", &Command{Program: "/bin/sleep", Args: []string{"1000"}, Timeout: 500 * time.Millisecond}, 0, "/bin/sleep: signal: killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.source.Free(t.Context())
			if reason(err) != tt.err || got != tt.want {
				t.Errorf("got %v, %v, want %v, %s", got, err, tt.want, tt.err)
			}
		})
	}
	write("stat", "cpu  150 0 150 700 100 0 0 0 0 0\n")
	if got, err := cpu.Free(t.Context()); got != 0 || err != nil {
		t.Errorf("CPU, all busy since: %v, %v", got, err)
	}
}
