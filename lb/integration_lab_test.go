package lb_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) {
	if port := os.Getenv(serveVar); port != "" {
		fmt.Fprintln(os.Stderr, serveProcess(port))
		os.Exit(1)
	}
	lab.Main(m)
}

// site is a lab of client, golb and three servers on one switch, with IPv4 and IPv6.
// Server n has weight n.
type site struct {
	t      *testing.T
	client *lab.Host
	golb   *lab.Host
	server []*lab.Host // s1 and so on
}

var vips = []netip.Addr{netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8::100")}

const servers = 3

func newSite(t *testing.T, mtu int) *site {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	sw, err := l.Switch("switch")
	must(t, err)
	host := func(name string, number int) *lab.Host {
		h, err := l.Host(name)
		must(t, err)
		_, err = l.Attach(h, sw, lab.LinkConfig{MTU: mtu, Addrs: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", number)),
			netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", number)),
		}})
		must(t, err)
		return h
	}
	s := &site{t: t, client: host("client", 10), golb: host("golb", 2)}
	for i := 1; i <= servers; i++ {
		h := host(fmt.Sprintf("s%d", i), 10+i)
		must(t, h.SolveARPProblem(vips...))
		s.server = append(s.server, h)
		serveHTTP(t, h, fmt.Sprintf("s%d", i), 80)
	}
	return s
}

// config balances port 80 of both VIPs by wrr.
func (s *site) config() lb.Config {
	cfg := lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1 << 16}
	for _, vip := range vips {
		v := lb.Service{VIP: vip, Port: 80, Scheduler: "wrr"}
		for i := 1; i <= servers; i++ {
			addr := fmt.Sprintf("192.0.2.%d", 10+i)
			if vip.Is6() {
				addr = fmt.Sprintf("2001:db8::%d", 10+i)
			}
			v.Servers = append(v.Servers, lb.Server{
				Name: fmt.Sprintf("s%d", i), Address: netip.MustParseAddr(addr), Weight: &i,
			})
		}
		cfg.Services = append(cfg.Services, v)
	}
	return cfg
}

// run starts golb on its host and returns when it forwards, and a function that
// ends it and returns when it has ended.
func (s *site) run(cfg lb.Config) (b *lb.Balancer, stop func()) {
	s.t.Helper()
	return s.runIn(lb.Env{}, cfg)
}

// runIn is run with an Env.
func (s *site) runIn(env lb.Env, cfg lb.Config) (b *lb.Balancer, stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	env.Dial = s.golb.DialContext
	onEvent := env.OnEvent
	env.OnEvent = func(e lb.Event) {
		if e.Kind == lb.EventReady {
			close(ready)
		}
		if onEvent != nil {
			onEvent(e)
		}
	}
	b, err := lb.New(cfg, env)
	must(s.t, err)
	done := make(chan error, 1)
	go func() { done <- s.golb.Do(func() error { return b.Run(ctx) }) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		s.t.Fatalf("golb ended: %v", err)
	}
	return b, func() {
		s.t.Helper()
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("golb: %v", err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serveHTTP answers GET with as many bytes as asked for and POST with the SHA-256 of
// what came; the header Server says who did.
func serveHTTP(t *testing.T, h *lab.Host, name string, port int) {
	ln, err := h.Listen(t.Context(), "tcp", fmt.Sprintf("[::]:%d", port))
	must(t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", name)
		if r.Method == http.MethodPost {
			sum, err := sumOf(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			fmt.Fprintf(w, "%x", sum)
			return
		}
		n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.CopyBuffer(plainWriter{w}, noise(n), make([]byte, 256<<10)) // fails where the client has gone
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// plainWriter hides ReadFrom, which would ignore the buffer of io.CopyBuffer.
type plainWriter struct{ io.Writer }

// noise is n bytes, the same for everyone.
func noise(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), n) }

func sumOf(r io.Reader) ([]byte, error) {
	h := sha256.New()
	_, err := io.CopyBuffer(plainWriter{h}, r, make([]byte, 256<<10))
	return h.Sum(nil), err
}

func newHTTPClient(h *lab.Host) *http.Client {
	return &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{
		DialContext: h.DialContext, DisableKeepAlives: true, WriteBufferSize: 256 << 10,
	}}
}

func urlOf(vip netip.Addr, bytes int64) string {
	return fmt.Sprintf("http://%s/?bytes=%d", netip.AddrPortFrom(vip, 80), bytes)
}
