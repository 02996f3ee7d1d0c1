package lb

import (
	"net/netip"
	"testing"
)

// The same servers behind the same address and port are asked once for each protocol:
// what a server of UDP may answer is not what one of TCP has to.
func TestTruePathsOfTwoProtocols(t *testing.T) {
	var services []Service
	for _, proto := range []Protocol{TCP, UDP} {
		services = append(services, Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: 53, Protocol: proto,
			Check:   Check{Type: "none", Through: throughVIP},
			Servers: []Server{{Address: rigServer(1)}, {Address: rigServer(2)}}})
	}
	r := newRig(t, Config{MaxConnections: minConnections, Services: services})
	asked := map[*server]bool{}
	for _, s := range r.b.paths {
		asked[s] = true
	}
	if len(asked) != 4 {
		t.Errorf("the true paths to %d servers are checked, want 4", len(asked))
	}
	for _, st := range r.b.monitor.Status() {
		if r.b.paths[st.Key] == nil {
			t.Errorf("%s: checks no server", st.Key)
		}
	}
}
