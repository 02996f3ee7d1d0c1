package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/golb/golb/lb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func balancer(t *testing.T) *lb.Balancer {
	t.Helper()
	b, err := lb.New(lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1024, Services: []lb.Service{{
		Name: "web", VIP: netip.MustParseAddr("192.0.2.1"), Port: 80,
		Check:   lb.Check{Type: "http", Params: map[string]any{"path": "/<a>"}},
		Servers: []lb.Server{{Name: "s1", Address: netip.MustParseAddr("10.0.0.1")}},
	}}}, lb.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// serve serves a balancer at a path until the test ends.
func serve(t *testing.T, path string, b *lb.Balancer) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- Serve(ctx, l, Handler(b)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
}

func TestHealthComesThroughTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	serve(t, path, balancer(t))
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v; want that of a socket, 0600", info.Mode(), err)
	}
	got, err := (&Client{Path: path}).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.Services[0].Servers[0].Since = time.Time{}
	want := Health{[]lb.ServiceHealth{{Name: "web", Up: false, Conflicts: []lb.VIPConflict{}, Reason: "its servers are not checked yet", Servers: []lb.ServerHealth{{
		Name: "s1", Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Reason: "not checked yet", State: lb.StateActive, Weight: 1,
		Check: lb.CheckHealth{Description: `http 10.0.0.1:80 path="/<a>"`, State: "unknown", Recent: []lb.CheckResult{}},
	}}}}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreAnsweredInJSON(t *testing.T) {
	h := Handler(balancer(t))
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"POST", pathHealth, 405, `{"error":"POST /v1/health: allowed: GET"}`},
		{"GET", "/v1/x", 404, `{"error":"/v1/x: not found; there are /v1/health, /v1/services, /v1/servers, /v1/connections"}`},
		{"PUT", pathConnections, 405, `{"error":"PUT /v1/connections: allowed: DELETE, GET"}`},
		{"GET", pathConnections + "?client=x", 400, `{"error":"client: \"x\": allowed: an address or a prefix"}`},
		{"GET", pathConnections + "?vip=x", 400, `{"error":"vip: \"x\": allowed: an address or address:port"}`},
		{"DELETE", pathConnections + "?protocol=x", 400, `{"error":"protocol: allowed: tcp, udp or sctp"}`},
		{"DELETE", pathConnections + "?templates=x", 400, `{"error":"templates: \"x\": allowed: true or false"}`},
		{"DELETE", pathConnections + "?clint=x", 400, `{"error":"clint: unknown; allowed: protocol, client, vip, server, service, templates"}`},
		{"POST", pathServers, 400, `{"error":"body: EOF"}`},
		{"HEAD", pathHealth, 200, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != tt.status || tt.method != "HEAD" && got != tt.want {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, w.Code, got, tt.status, tt.want)
		}
	}
}

func TestSocketIsForItsOwnerAndAGroup(t *testing.T) {
	for gid, want := range map[int]os.FileMode{-1: 0o600, os.Getgid(): 0o660} {
		path := filepath.Join(t.TempDir(), "golb.sock")
		l, err := ListenGroup(path, gid)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("group %d: mode %v, %v, want %v", gid, info.Mode(), err, want)
		}
	}
}

func TestSocketIsTakenOverFromTheDeadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	client := &Client{Path: path}
	if _, err := client.Health(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a socket: %v", err)
	}
	dead, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.(*listener).UnixListener.Close(); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	if _, err := client.Health(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with a dead socket: %v", err)
	}
	serve(t, path, balancer(t))
	if _, err := Listen(path); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("beside one that is served: %v", err)
	}
	if err := dead.Close(); err == nil {
		t.Error("closed twice without an error")
	}
	if _, err := client.Health(t.Context()); err != nil {
		t.Errorf("after the dead one was closed again: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, _ := os.ReadFile(file); string(b) != "mine" {
		t.Error("a file was replaced by a socket")
	}
}

func TestClientDoesNotTrustWhatAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "invalid character"},
		"an error": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 500, failure{"broken"}) }, "500 Internal Server Error: broken"},
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Serve(ctx, l, tt.answer) }()
		if _, err := (&Client{Path: path}).Health(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// counted counts the connections that it accepts.
type counted struct {
	net.Listener
	accepted atomic.Int64
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.accepted.Add(1)
	return c, err
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	few := &counted{Listener: l}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Serve(ctx, few, Handler(balancer(t))) }()
	var idle []net.Conn
	for range 4 * maxConnections {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	for few.accepted.Load() < maxConnections {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // in which it would accept more
	if n := few.accepted.Load(); n > maxConnections {
		t.Errorf("%d of %d idle connections are accepted, want %d", n, len(idle), maxConnections)
	}
	for _, c := range idle {
		c.Close()
	}
	if _, err := (&Client{Path: path}).Health(t.Context()); err != nil {
		t.Errorf("after them: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
