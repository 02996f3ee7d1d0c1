package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb"
)

// newTestBalancer returns a balancer that has two services, one of them by mark, on the same servers.
func newTestBalancer(t *testing.T) *lb.Balancer {
	t.Helper()
	servers := []lb.Server{
		{Name: "s1", Address: netip.MustParseAddr("10.0.0.1")},
		{Name: "s2", Address: netip.MustParseAddr("10.0.0.2"), Weight: new(2)},
	}
	vip := netip.MustParseAddr("192.0.2.1")
	b, err := lb.New(lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1024, Services: []lb.Service{
		{Name: "web", VIP: vip, Port: 80, Servers: servers},
		{Name: "rest", Match: []lb.Match{{VIP: lb.VIP{Prefix: netip.PrefixFrom(vip, 32)}}}, Mark: 7, Check: lb.Check{Type: "none"}, Servers: servers},
	}}, lb.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// describeServers returns the servers of an answer as SERVICE SERVER STATE WEIGHT.
func describeServers(services []lb.ServiceStats) (list []string) {
	for _, v := range services {
		for _, r := range v.Servers {
			weight, _ := json.Marshal(r.Weight)
			list = append(list, strings.Join([]string{v.Name, r.Name, string(r.State), string(weight)}, " "))
		}
	}
	return list
}

func TestUpdatesReachAllServersOfThatName(t *testing.T) {
	h := Handler(newTestBalancer(t))
	for _, tt := range []struct {
		update string
		want   []string
	}{
		{`{"server":"s1","weight":5}`, []string{"web s1 active 5", "rest s1 active 5"}},
		{`{"server":"10.0.0.1","service":"rest","state":"drain","within":"5m"}`, []string{"rest s1 drain 0"}},
		{`{"server":"10.0.0.2:80","state":"halt"}`, []string{"web s2 halt 0"}},
		{`{"server":"s2","state":"active","weight":0}`, []string{"web s2 active 0", "rest s2 active 0"}},
		{`{"server":"s1","state":"active"}`, []string{"web s1 active 5", "rest s1 active 5"}},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", pathServers, strings.NewReader(tt.update)))
		var got UpdateResult
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.update, w.Code, w.Body)
		}
		if diff := cmp.Diff(tt.want, describeServers(got.Services)); diff != "" {
			t.Errorf("%s: %s", tt.update, diff)
		}
	}
}

func TestUpdatesThatMakeNoSenseChangeNothing(t *testing.T) {
	b := newTestBalancer(t)
	h, before := Handler(b), b.Stats()
	for update, want := range map[string]string{
		`{"server":"s1"}`:                                     "400 weight, state: one of them is needed",
		`{"weight":1}`:                                        "400 server: missing",
		`{"server":"s1","weight":65536}`:                      "400 weight: 65536: out of range; allowed: 0 to 65535",
		`{"server":"s1","state":"gone"}`:                      `400 state: "gone": unknown; allowed: active, drain or halt`,
		`{"server":"s1","state":"halt","within":"5m"}`:        `400 within: "5m": for state drain only`,
		`{"server":"s1","state":"drain","within":"soon"}`:     `400 within: "soon": allowed: a time above 0, as 5m`,
		`{"server":"s1","state":"drain","within":"-5m"}`:      `400 within: "-5m": allowed: a time above 0, as 5m`,
		`{"server":"s9","weight":1}`:                          "404 server s9: no service has it",
		`{"server":"s1","service":"ftp","weight":1}`:          "404 server s1 of service ftp: there is none",
		`{"server":"s1","wait":1}`:                            `400 body: json: unknown field "wait"`,
		`{"server":"` + strings.Repeat("s", maxUpdate) + `"}`: "400 body: http: request body too large",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", pathServers, strings.NewReader(update)))
		var got failure
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		status, reason, _ := strings.Cut(want, " ")
		if code, _ := json.Marshal(w.Code); string(code) != status || got.Error != reason {
			t.Errorf("%.60s: %s %s, want %s", update, code, got.Error, want)
		}
	}
	if diff := cmp.Diff(describeServers(before.Services), describeServers(b.Stats().Services)); diff != "" {
		t.Error(diff)
	}
}
