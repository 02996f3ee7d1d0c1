package api

import (
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/simulate"
)

// balancerWithConnections returns a balancer with three clients' connections, of two networks.
func balancerWithConnections(t *testing.T) *lb.Balancer {
	t.Helper()
	vip := netip.MustParseAddrPort("10.0.0.100:80")
	sim, err := simulate.New(lb.Config{Services: []lb.Service{{
		Name: "web", VIP: vip.Addr(), Port: 80, Scheduler: "rr", Check: lb.Check{Type: "none"},
		Persistence: lb.Persistence{Timeout: time.Minute, Prefix: 28},
		Servers:     []lb.Server{{Address: netip.MustParseAddr("10.9.1.1")}, {Address: netip.MustParseAddr("10.9.1.2")}},
	}}}, simulate.World{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, client := range []string{"192.0.2.1:4000", "192.0.2.2:4000", "192.0.2.16:4000"} {
		syn := lbtest.Packet{Protocol: lb.TCP, Flags: forward.FlagSYN, Src: netip.MustParseAddrPort(client), Dst: vip}
		if _, err := sim.Send(syn.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return sim.Balancer()
}

func TestConnectionsAndTemplatesAreListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	serve(t, path, balancerWithConnections(t))
	c := &Client{Path: path}
	for _, tt := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{
			"tcp 192.0.2.16:4000 10.0.0.100:80 10.9.1.1:80 SYN_RECV",
			"tcp 192.0.2.1:4000 10.0.0.100:80 10.9.1.2:80 SYN_RECV",
			"tcp 192.0.2.2:4000 10.0.0.100:80 10.9.1.2:80 SYN_RECV",
		}},
		{Filter{Client: "192.0.2.0/30", Protocol: "tcp", VIP: "10.0.0.100:80", Server: "10.9.1.2"}, []string{
			"tcp 192.0.2.1:4000 10.0.0.100:80 10.9.1.2:80 SYN_RECV",
			"tcp 192.0.2.2:4000 10.0.0.100:80 10.9.1.2:80 SYN_RECV",
		}},
		{Filter{Protocol: "udp"}, nil},
		{Filter{Templates: true}, []string{
			"tcp 192.0.2.0/28 10.0.0.100:80 10.9.1.2:80 NONE",
			"tcp 192.0.2.16/28 10.0.0.100:80 10.9.1.1:80 NONE",
		}},
		{Filter{Templates: true, Client: "192.0.2.31"}, []string{"tcp 192.0.2.16/28 10.0.0.100:80 10.9.1.1:80 NONE"}},
	} {
		var got []string
		err := c.Connections(t.Context(), tt.filter, func(c lb.Connection) bool {
			client := c.Client.String()
			if c.Template {
				client = c.Clients.String()
			}
			got = append(got, strings.Join([]string{c.Protocol.String(), client, c.VIP.String(), c.Server.String(), c.State}, " "))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v: %s", tt.filter, diff)
		}
	}
}

func TestConnectionsAndTemplatesAreDeleted(t *testing.T) {
	b := balancerWithConnections(t)
	path := filepath.Join(t.TempDir(), "golb.sock")
	serve(t, path, b)
	c := &Client{Path: path}
	for _, tt := range []struct {
		filter Filter
		want   int
		left   int // in the table
	}{
		{Filter{Client: "192.0.2.1"}, 1, 4},
		{Filter{Client: "192.0.2.1"}, 0, 4},
		{Filter{Client: "192.0.2.2", Templates: true}, 1, 4}, // its connection hangs on it
		{Filter{}, 2, 2},                                     // and the template waits for its time, though nobody finds it
		{Filter{Templates: true}, 1, 1},                      // the other
	} {
		n, err := c.DeleteConnections(t.Context(), tt.filter)
		if err != nil || n != tt.want {
			t.Errorf("%+v: ended %d, %v, want %d", tt.filter, n, err, tt.want)
		}
		if left := b.Stats().Connections; left != tt.left {
			t.Errorf("%+v: left %d, want %d", tt.filter, left, tt.left)
		}
	}
	err := c.Connections(t.Context(), Filter{Templates: true}, func(c lb.Connection) bool {
		t.Errorf("%s is listed after it was ended", c.Clients)
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

func TestServicesAreListedWithWhatTheyCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	serve(t, path, balancerWithConnections(t))
	l, err := (&Client{Path: path}).Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	web := l.Services[0]
	if r := web.Servers[1]; l.Connections != 5 || web.Scheduler != "rr" || web.Match[0].String() != "tcp 10.0.0.100:80" ||
		r.Active != 2 || r.Templates != 1 || r.Connections != 2 || r.InPackets != 2 || r.InBytes != 80 || r.Method != lb.DSR {
		t.Errorf("%+v", l)
	}
}

func TestAMistakeIsToldAsItWasAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.sock")
	serve(t, path, balancer(t))
	_, err := (&Client{Path: path}).DeleteConnections(t.Context(), Filter{Server: "s1"})
	if want := `server: "s1": allowed: an address or address:port`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAReaderThatIsGoneEndsAList(t *testing.T) {
	w := &brokenWriter{httptest.NewRecorder(), 0}
	Handler(balancerWithConnections(t)).ServeHTTP(w, httptest.NewRequest("GET", pathConnections, nil))
	if w.writes != 1 {
		t.Errorf("%d writes to one who is gone", w.writes)
	}
}

// brokenWriter is the connection to a client that has gone.
type brokenWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (b *brokenWriter) Write([]byte) (int, error) {
	b.writes++
	return 0, net.ErrClosed
}
