package lb

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

func TestPersistenceWithoutATimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`{}`:                                 0,
		`{"persistence": {}}`:                5 * time.Minute,
		`{"persistence": {"prefix": 24}}`:    5 * time.Minute,
		`{"persistence": {"timeout": "0s"}}`: 0,
		`{"persistence": {"timeout": "10m", "prefix": 24}}`: 10 * time.Minute,
	} {
		var s Service
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if got := s.Persistence.timeout(); got != want {
			t.Errorf("%s: timeout %v, want %v", text, got, want)
		}
	}
}

func TestQuiescentServersKeepPersistentClients(t *testing.T) {
	const client = 200
	for name, tt := range map[string]struct {
		edit  func(*Service, *Settings)
		keeps bool
	}{
		"quiescent":                    {func(*Service, *Settings) {}, true},
		"with a fallback":              {func(s *Service, _ *Settings) { s.Fallback = sorry(DSR) }, true},
		"refusing":                     {func(s *Service, _ *Settings) { s.WhenDown = DownRefuse }, true},
		"templates of weight 0 expire": {func(_ *Service, set *Settings) { set.ExpireQuiescentTemplate = new(true) }, false},
		"not quiescent":                {func(s *Service, _ *Settings) { s.Quiescent = false }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Scheduler: "rr", Quiescent: true, Persistence: Persistence{Timeout: time.Hour}}
			s.Servers = []Server{{Address: rigServer(1)}, {Address: rigServer(2)}}
			var set Settings
			tt.edit(&s, &set)
			x := &healthRig{t: t}
			x.rig = newRig(t, Config{MaxConnections: minConnections, Services: []Service{s}, Settings: set})
			again := func() int {
				_, sent := x.handle(0, rigFrame(rigClient, TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, client}), uint16(4000+x.client)),
					netip.AddrPortFrom(s.VIP, 80), forward.FlagSYN))
				x.client++
				for n := range 100 {
					if len(sent) > 0 && rigServerMAC(rigServer(n)) == forward.MAC(sent[0]) {
						return n
					}
				}
				return refused
			}
			at := again()
			x.reportChecks(false, at)
			if got := again(); (got == at) != tt.keeps {
				t.Errorf("its server %d failed: the client goes to %d", at, got)
			}
			x.reportChecks(false, 3-at)
			if got := again(); (got == at) != tt.keeps {
				t.Errorf("all failed: the client, of server %d, goes to %d", at, got)
			}
			if got := x.opens(); slices.Contains(got, 1) || slices.Contains(got, 2) {
				t.Errorf("all failed: new clients go to %v", got)
			}
			x.reportChecks(true, 1, 2)
			must(t, x.b.Drain(ServerRef{s.name(), netip.AddrPortFrom(rigServer(at), 80).String()}, 0))
			if got := again(); got == at {
				t.Errorf("drained by an operator: the client stays at %d", got)
			}
		})
	}
}

func TestPersistentServicesOfManyPortsGoWhereTheirChecksGo(t *testing.T) {
	for _, compat := range []bool{false, true} {
		for _, s := range []Service{
			{Match: []Match{{VIP: VIP{netip.MustParsePrefix("192.0.2.80/32")}, Protocols: []Protocol{TCP}, Ports: Ports{{80, 80}, {443, 443}}}}},
			{VIP: netip.MustParseAddr("192.0.2.80")},
		} {
			s.Method, s.Persistence.Timeout = NAT, time.Hour
			s.Servers = []Server{{Address: rigServer(1), Port: 8080}}
			r := newRig(t, Config{MaxConnections: minConnections, Services: []Service{s}, Settings: Settings{IPVSCompat: compat}})
			want := uint16(8080)
			if compat {
				want = 443
			}
			src, dst := netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort("192.0.2.80:443")
			_, sent := r.handle(0, rigFrame(rigClient, TCP, src, dst, forward.FlagSYN))
			if len(sent) != 1 || uint16(sent[0][36])<<8|uint16(sent[0][37]) != want {
				t.Errorf("%s, compat %v: sent % x, want it to port %d", s.name(), compat, sent, want)
			}
		}
	}
}
