package lb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func checkService(vip string, c Check, servers ...Server) Service {
	return Service{VIP: netip.MustParseAddr(vip), Port: 80, Check: c, Servers: servers}
}

func checkServer(n int) Server {
	return Server{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Weight: new(10)}
}

func TestChecksAreSharedByWhoAsksTheSame(t *testing.T) {
	page := Check{Type: "http", Params: map[string]any{"path": "/a"}}
	often := page
	often.Interval = time.Second
	alias := Check{Type: "http", Params: map[string]any{"request": "/a"}}
	other := checkServer(1)
	other.Check.Params = map[string]any{"request": "/b"}
	elsewhere := checkServer(1)
	elsewhere.Check = Check{Address: netip.MustParseAddr("10.9.9.9"), Port: 8080}
	cfg := Config{Interfaces: []string{"wire0"}, MaxConnections: minConnections, Services: []Service{
		checkService("192.0.2.1", page, checkServer(1), checkServer(2)),
		checkService("192.0.2.2", page, checkServer(1)),
		checkService("192.0.2.3", alias, checkServer(1)),
		checkService("192.0.2.4", often, checkServer(1)),
		checkService("192.0.2.5", page, other),
		checkService("192.0.2.6", page, elsewhere),
		checkService("192.0.2.7", Check{Type: "none"}, checkServer(1)),
		checkService("192.0.2.8", Check{}, checkServer(1)),
	}}
	b, err := New(cfg, Env{})
	if err != nil {
		t.Fatal(err)
	}
	b.watchLocked()
	got := map[string]int{}
	for key, servers := range b.checked {
		got[key] = len(servers)
	}
	const usual = ", every 0s 0s, timeout 0s 0s, fall 0, rise 0"
	want := map[string]int{
		`http 10.0.0.1:80 path="/a"` + usual: 3, `http 10.0.0.2:80 path="/a"` + usual: 1,
		`http 10.0.0.1:80 path="/a", every 1s 0s, timeout 0s 0s, fall 0, rise 0`: 1,
		`http 10.0.0.1:80 path="/b"` + usual:                                     1,
		`http 10.9.9.9:8080 path="/a"` + usual:                                   1,
		`tcp 10.0.0.1:80` + usual:                                                1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(b.monitor.Status()); n != len(want) {
		t.Errorf("the monitor has %d checks, want %d", n, len(want))
	}
}
