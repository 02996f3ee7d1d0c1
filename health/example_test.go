package health_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/golb/golb/health"
)

// Two targets, a TCP port and a function, until the state of both is known.
func ExampleMonitor() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var states []string
	m := health.NewMonitor(health.Config{OnEvent: func(e health.Event) {
		states = append(states, fmt.Sprintf("%s is %s: %q\n", e.Key, e.State, e.Reason))
		if len(states) == 2 {
			cancel()
		}
	}})
	m.Set([]health.Target{{
		Key:     "port",
		Checker: &health.TCP{Addr: listener.Addr().(*net.TCPAddr).AddrPort()},
	}, {
		Key:      "queue",
		Checker:  health.CheckerFunc(func(context.Context) error { return fmt.Errorf("queue: got 1200 jobs, want at most 1000") }),
		Settings: health.Settings{Interval: time.Second, Fall: 3},
	}})
	if err := m.Run(ctx); err != nil {
		fmt.Println(err)
	}
	sort.Strings(states)
	fmt.Print(strings.Join(states, ""))
	// Output:
	// port is up: ""
	// queue is down: "queue: got 1200 jobs, want at most 1000"
}

// A single check, without a Monitor.
func ExampleOnce() {
	checker := health.CheckerFunc(func(context.Context) error { return fmt.Errorf("disk: got 99%% used, want at most 90%%") })
	result, err := health.Once(context.Background(), checker, time.Second)
	fmt.Println(result.Reason, err)
	// Output: disk: got 99% used, want at most 90% <nil>
}

// Checks by name, as a config and a command line have them.
func ExampleRegistry_New() {
	types := health.NewRegistry(health.TCPType(), health.HTTPType()) // the program links no others
	peer := health.Peer{Addr: netip.MustParseAddrPort("192.0.2.10:80")}

	key, _, err := types.New("http", peer, map[string]any{"path": "/check.txt", "expect": "OK", "status": 200})
	fmt.Println(key, err)

	_, _, err = types.New("http", peer, map[string]any{"path": "http://192.0.2.10/", "method": "GTE"})
	fmt.Println(err)

	_, _, err = types.New("dns", peer, nil)
	fmt.Println(err)
	// Output:
	// http 192.0.2.10:80 expect="OK" path="/check.txt" status="200" <nil>
	// method "GTE": not allowed; allowed: GET, HEAD, OPTIONS, POST
	// path "http://192.0.2.10/": not allowed; allowed: a path, without scheme and host
	// type "dns": no such type of check; allowed: http, tcp
}

// queueType is a type of check of one's own: a server answers a connection with the
// length of its queue.
func queueType() health.Type {
	return health.Type{
		Name: "queue", About: "length of the server's queue", Transport: "tcp", Port: 7000,
		Bind: func(k *health.Keys, p health.Peer) health.Checker {
			most := 0
			k.Int(&most, "most", 1000, 0, 1_000_000, "jobs that may wait")
			return health.CheckerFunc(func(ctx context.Context) error {
				conn, err := p.Dial(ctx, "tcp", p.Addr.String())
				if err != nil {
					return err
				}
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return fmt.Errorf("queue: %w", err)
				}
				if n, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || n > most {
					return fmt.Errorf("queue: got %q, want at most %d", line, most)
				}
				return nil
			})
		},
	}
}

// A type of your own beside all of this package.
func ExampleType() {
	types := health.NewRegistry(append(health.Builtin(), queueType())...)
	peer := health.Peer{
		Addr: netip.MustParseAddrPort("192.0.2.10:7000"),
		Dial: func(context.Context, string, string) (net.Conn, error) { // a server for the example
			near, far := net.Pipe()
			go func() { fmt.Fprintln(far, 1200); far.Close() }()
			return near, nil
		},
	}
	for _, most := range []int{1000, 2000} {
		key, checker, err := types.New("queue", peer, map[string]any{"most": most})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(key, "finds", checker.Check(context.Background()))
	}
	// Output:
	// queue 192.0.2.10:7000 most="1000" finds queue: got "1200\n", want at most 1000
	// queue 192.0.2.10:7000 most="2000" finds <nil>
}
