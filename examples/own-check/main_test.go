package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
	"github.com/golb/golb/lb/lbtest"
)

const file = `interfaces: [eth0]
services:
  - name: files
    vip: 192.0.2.100
    port: 80
    check: {type: maintenance, interval: 5s}
    servers:
      - address: 192.0.2.11
      - address: 192.0.2.12
  - name: reporting
    vip: 192.0.2.100
    port: 81
    check: {interval: 5s, fall: 1}
    servers:
      - address: 192.0.2.13
`

// The bubble's clock makes the seconds between two checks pass at once.
func TestServersAreUpAsTheChecksSay(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var reports reports
		wire := lbtest.NewWire()
		env := wire.Env(lbtest.NewClock(time.Unix(0, 0)), forward.MAC{2, 0, 0, 0, 0, 1})
		env.Checks, env.Checker = checks(dir), reports.checker("reporting")
		cfg, err := conf.ParseIn(env, "golb.yaml", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		balancer, stop, err := lbtest.Start(cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		maintained := filepath.Join(dir, "192.0.2.12")
		for i, step := range []struct {
			change func() error
			want   string // what is down, and why
		}{
			{func() error { return nil }, "192.0.2.13:81: no report for 10s"},
			{func() error { return report(&reports, "192.0.2.13:5000") }, ""},
			{func() error { return os.WriteFile(maintained, nil, 0o600) }, "192.0.2.12:80: under maintenance; 192.0.2.13:81: no report for 10s"},
			{func() error { return os.Remove(maintained) }, "192.0.2.13:81: no report for 10s"},
			{func() error { return report(&reports, "[::ffff:192.0.2.13]:5000") }, ""},
		} {
			if err := step.change(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(9 * time.Second) // a check at least
			if i == 2 {
				time.Sleep(3 * time.Second) // two
			}
			synctest.Wait()
			if got := down(balancer); got != step.want {
				t.Errorf("step %d: down: %q, want %q", i, got, step.want)
			}
		}
	})
}

// report reports to this program as a server does.
func report(r *reports, from string) error {
	req := httptest.NewRequest(http.MethodPost, "/alive", nil)
	req.RemoteAddr = from
	r.ServeHTTP(httptest.NewRecorder(), req)
	return nil
}

// down is which servers are down, and why.
func down(b *lb.Balancer) string {
	var list []string
	for _, service := range b.Health() {
		for _, s := range service.Servers {
			if !s.Up {
				list = append(list, s.Name+": "+s.Reason)
			}
		}
	}
	return strings.Join(list, "; ")
}

func TestOnlyPostsCountAsReports(t *testing.T) {
	for _, req := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/alive", nil),
		httptest.NewRequest(http.MethodPost, "/", nil),
	} {
		var r reports
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		r.last.Range(func(any, any) bool { t.Errorf("%s %s is a report", req.Method, req.URL); return false })
		if w.Code != http.StatusNotFound {
			t.Errorf("%s %s: status %d", req.Method, req.URL, w.Code)
		}
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	err := run(t.Context(), lb.Env{}, "nowhere.yaml")
	if err == nil || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("error %v, want one about nowhere.yaml", err)
	}
}
