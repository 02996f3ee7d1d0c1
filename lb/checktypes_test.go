package lb_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
)

// pages are web servers that count what they are asked.
type pages struct {
	mu    sync.Mutex
	asked []string // address and page, or address alone for a bare connect
	slow  time.Duration
}

// take empties the list.
func (p *pages) take() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.asked = nil }()
	return p.asked
}

func (p *pages) dial(_ context.Context, _, address string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		r, err := http.ReadRequest(bufio.NewReader(far))
		p.mu.Lock()
		slow := p.slow
		if err != nil {
			p.asked = append(p.asked, address)
		} else {
			p.asked = append(p.asked, fmt.Sprintf("%s %s %s", address, r.Host, r.URL))
		}
		p.mu.Unlock()
		if err == nil {
			time.Sleep(slow)
			_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
		}
	}()
	return near, nil
}

func TestConnectsComeBetweenRequestsAndServersHaveTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{}
		s := service(vip4, 2)
		s.Check = lb.Check{Type: "http", Interval: time.Second, Params: map[string]any{"path": "/a", "expect": "^OK$", "connects": 2}}
		s.Servers[1].Check = lb.Check{Port: 8080, Params: map[string]any{"request": "/b", "virtualhost": "www.example", "connects": 0}}
		b := startIn(t, lb.Config{Services: []lb.Service{s}}, func(lb.Event) {}, func(env *lb.Env) { env.Dial = p.dial })
		time.Sleep(6*time.Second + 500*time.Millisecond)
		var first, second []string
		for _, line := range p.take() {
			if line[:8] == "10.0.0.1" {
				first = append(first, line)
			} else {
				second = append(second, line)
			}
		}
		const page, connect = "10.0.0.1:80 10.0.0.1:80 /a", "10.0.0.1:80"
		if diff := cmp.Diff([]string{page, connect, connect, page, connect, connect, page}, first); diff != "" {
			t.Errorf("server 1: %s", diff)
		}
		if want := "10.0.0.2:8080 www.example /b"; len(second) != 7 || second[0] != want || second[6] != want {
			t.Errorf("server 2 was asked %q, want 7 times %q", second, want)
		}
		if got := b.up(0); !got[0] || !got[1] {
			t.Errorf("servers up: %v", got)
		}
	})
}

func TestFastIntervalShortensTheTimeOfDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		s := asking(vip4, 1)
		s.Check = lb.Check{Type: "ask", Interval: 10 * time.Second, Fast: time.Second, Fall: 3, Rise: 3}
		startAsking(t, lb.Config{Services: []lb.Service{s}}, a)
		time.Sleep(5 * time.Second)
		for _, reason := range []string{"broken", ""} {
			a.set(server4(1), reason)
			time.Sleep(12*time.Second + 500*time.Millisecond) // until the next check, and two fast ones
			got := a.happened()
			if len(got) != 1 || got[0].Reason != reason || got[0].Time.Sub(got[0].Since) != 2*time.Second {
				t.Errorf("%q: events %+v, want one 2 s after its first check", reason, got)
			}
		}
	})
}

func TestHealthTellsOfCheckAndTruePathApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		s := asking(vip4, 1)
		s.Check.Through = "vip"
		b := startAsking(t, lb.Config{Services: []lb.Service{s}}, a)
		time.Sleep(10 * time.Second) // nobody on this wire answers a SYN
		r := b.balancer.Health()[0].Servers[0]
		if r.Check.State != health.Up.String() || r.Path == nil || r.Path.State != health.Down.String() || r.Up || r.Reason != r.Path.Reason ||
			!strings.HasPrefix(r.Reason, "SYN through 192.0.2.80:80: no answer in time") {
			t.Errorf("health is %+v", r)
		}
	})
}
