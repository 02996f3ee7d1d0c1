package health_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// A monitor of two servers, one of them checked by a function.
func ExampleMonitor() {
	ctx, cancel := context.WithCancel(context.Background())
	m := health.NewMonitor(health.Config{OnEvent: func(e health.Event) {
		fmt.Println(e.Key, "is", e.State, e.Reason)
		cancel()
	}})
	err := m.Set([]health.Target{{
		Key:      "queue of 192.0.2.10",
		Checker:  health.CheckerFunc(func(context.Context) error { return fmt.Errorf("queue: got 1200 jobs, want at most 1000") }),
		Settings: health.Settings{Interval: time.Second, Fall: 3},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = m.Run(ctx)
	// Output: queue of 192.0.2.10 is down queue: got 1200 jobs, want at most 1000
}

// Checks by name, as a config and a command line have them.
func ExampleRegistry() {
	r := health.NewRegistry()
	peer := health.Peer{Addr: netip.MustParseAddrPort("192.0.2.10:80")}

	key, _, err := r.New("http", peer, map[string]any{"path": "/check.txt", "expect": "OK", "status": 200})
	fmt.Println(key, err)

	_, _, err = r.New("http", peer, map[string]any{"path": "http://192.0.2.10/", "method": "GTE"})
	fmt.Println(err)
	// Output:
	// http 192.0.2.10:80 expect="OK" path="/check.txt" status="200" <nil>
	// method "GTE": not allowed; allowed: GET, HEAD, OPTIONS, POST
	// path "http://192.0.2.10/": not allowed; allowed: a path, without scheme and host
}
