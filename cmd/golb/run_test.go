package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
	"github.com/golb/golb/lb/lbtest"
)

const runnable = `interfaces: [eth0]
workers: 1
max_connections: 4096
services:
  - vip: 192.0.2.100
    port: 80
    check: {type: none}
    servers:
      - address: 192.0.2.11
`

// inMemoryEnv is what a balancer runs on that needs no privileges.
func inMemoryEnv() lb.Env {
	wire := lbtest.NewWire()
	return lb.Env{
		OpenPorts: func(lb.PortConfig) ([]lb.Port, error) {
			return []lb.Port{wire.Port(forward.MAC{2, 0, 0, 0, 0, 1}, 1500)}, nil
		},
		OpenLink: func(lb.LinkConfig) (lb.Link, error) {
			return &lbtest.Link{MAC: func(netip.Addr) (forward.MAC, bool) { return forward.MAC{2, 0, 0, 0, 0, 2}, true }}, nil
		},
		Route: func(netip.Addr) (lb.Route, error) { return lb.Route{Interface: "eth0"}, nil },
	}
}

// entries reads a JSON log.
type entries struct {
	t     *testing.T
	lines *bufio.Scanner
}

// next returns the entries up to one with the message, which is the last.
func (e *entries) next(message string) []map[string]any {
	e.t.Helper()
	var seen []map[string]any
	for e.lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(e.lines.Bytes(), &line); err != nil {
			e.t.Fatalf("%s: %v", e.lines.Text(), err)
		}
		delete(line, "time")
		seen = append(seen, line)
		if line["msg"] == message {
			return seen
		}
	}
	e.t.Fatalf("the log ended before %q: %v", message, seen)
	return nil
}

func TestReloadAppliesOrRefusesTheWholeFile(t *testing.T) {
	defer goleak.VerifyNone(t)
	read, written := io.Pipe()
	log := &entries{t, bufio.NewScanner(read)}
	path := write(t, runnable)
	s := server{group: -1, file: path, log: newLogger(written, nil, false), env: inMemoryEnv(), check: func(*lb.Config) error { return nil }}
	s.env.Logger = s.log
	ctx, cancel := context.WithCancelCause(t.Context())
	hangup := make(chan os.Signal)
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, hangup) }()
	if first := log.next("forwarding")[0]; first["msg"] != "starting" || first["config"] != path || first["services"] != 1.0 || first["interfaces"] != "eth0" || first["version"] == "" {
		t.Errorf("the log begins with %v", first)
	}

	rewrite := func(old, new string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.Replace(runnable, old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		hangup <- syscall.SIGHUP
	}

	rewrite("port: 80", "port: eighty\n    color: red")
	seen := log.next("config refused; the old one goes on")
	want := []map[string]any{
		{"level": "ERROR", "msg": "not a whole number", "file": path, "line": 6.0, "column": 11.0, "path": "services[0].port", "value": "eighty", "allowed": "a whole number, 0 to 65535"},
		{"level": "ERROR", "msg": "unknown key", "file": path, "line": 7.0, "column": 5.0, "path": "services[0].color", "allowed": seen[1]["allowed"]},
		{"level": "ERROR", "msg": "config refused; the old one goes on", "file": path},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}

	rewrite("4096", "8192") // only a restart can
	seen = log.next("config refused; the old one goes on")
	if seen[0]["path"] != "max_connections" || seen[0]["line"] != 3.0 || seen[0]["column"] != 18.0 {
		t.Errorf("got %v, want a mistake at 3:18", seen[0])
	}

	rewrite("192.0.2.11\n", "192.0.2.11\n  - vip: 192.0.2.101\n    port: 80\n    servers: [{address: 192.0.2.11}]\n")
	seen = log.next("config applied")
	if n := seen[len(seen)-1]["services"]; n != 2.0 {
		t.Errorf("%v services, want 2", n)
	}
	want = []map[string]any{{"level": "INFO", "msg": "service added", "service": "tcp 192.0.2.101:80"}}
	if diff := cmp.Diff(want, seen[:len(seen)-1]); diff != "" {
		t.Errorf("what changed: %s", diff)
	}

	cancel(errors.New("a reason"))
	if seen = log.next("stopping"); seen[len(seen)-1]["reason"] != "a reason" {
		t.Errorf("the log ends with %v", seen)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, read)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	written.Close()
	<-drained
}

func TestRunSaysWhereInTheFileItFails(t *testing.T) {
	s := server{group: -1, file: write(t, runnable), log: slog.New(slog.DiscardHandler), env: inMemoryEnv(), check: func(*lb.Config) error { return nil }}
	s.env.Route = func(netip.Addr) (lb.Route, error) { return lb.Route{}, lb.ErrOwnHost }
	err := s.run(t.Context(), nil)
	var mistakes conf.Errors
	if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Line != 9 || mistakes[0].Column != 18 {
		t.Errorf("got %v, want a mistake at 9:18", err)
	}
}

// The whole of it: a process, real signals, a real interface.
func TestProcessObeysSignals(t *testing.T) {
	host := labHost(t)
	path := write(t, runnable)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), argsVariable+"=run -c "+path, "GOLB_SOCKET="+filepath.Join(t.TempDir(), "s"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := host.Start(cmd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		log := &entries{t, bufio.NewScanner(stderr)}
		log.next("forwarding")
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		log.next("config applied")
		if err := cmd.Process.Signal(last); err != nil {
			t.Fatal(err)
		}
		if stop := log.next("stopping"); stop[len(stop)-1]["reason"] != last.String()+" signal received" {
			t.Errorf("after %v: %v", last, stop)
		}
		for log.lines.Scan() {
			t.Logf("after the signal: %s", log.lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v: %v", last, err)
		}
	}
}
