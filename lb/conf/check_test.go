package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
)

// Whatever golb probe takes, by each of its names, a config takes too.
func TestChecksTakeEveryTypeAndKey(t *testing.T) {
	for _, typ := range health.Builtin() {
		for _, name := range append([]string{typ.Name}, typ.Also...) {
			must := ""
			for _, k := range typ.Keys() {
				if k.Required {
					must += fmt.Sprintf("      %s: %s\n", k.Name, k.Example)
				}
			}
			check := func(more string) error {
				_, err := Parse("f", []byte(strings.Replace(valid, "    servers:", "    check:\n      type: "+name+"\n"+must+more+"    servers:", 1)))
				return err
			}
			if err := check(""); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, k := range typ.Keys() {
				for _, key := range append([]string{k.Name}, k.Also...) {
					if k.Default == "" || k.Required {
						continue
					}
					if err := check(fmt.Sprintf("      %s: %s\n", key, k.Default)); err != nil {
						t.Errorf("%s %s: %v", name, key, err)
					}
				}
			}
		}
	}
}

func TestChecksKeepWhatTheFileSays(t *testing.T) {
	cfg, err := Parse("f", []byte(`interfaces: [eth0]
services:
  - vip: 192.0.2.1
    port: 80
    check:
      checktype: http
      checkport: 8080
      checkinterval: 2s
      negotiatetimeout: 1s
      failurecount: 3
      request: /a?b=1
      receive: "007"
      status: 200
      http2: false
      header: {X-A: 1.10, X-B: "yes"}
      connects: 5
    servers:
      - address: 10.0.0.1
        check: {request: /one, header: ["X-C: d", "X-D: e"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.Services[0].Check
	if c.Port != 8080 || c.Interval.String() != "2s" || c.Timeout.String() != "1s" || c.Fall != 3 {
		t.Errorf("ldirectord's words for a check: %+v", c)
	}
	want := map[string]any{"request": "/a?b=1", "receive": "007", "status": "200", "http2": "false", "header": map[string]any{"X-A": "1.10", "X-B": "yes"}, "connects": "5"}
	if diff := cmp.Diff(want, c.Params); diff != "" {
		t.Error(diff)
	}
	params := map[string]any{"request": "/one", "header": []any{"X-C: d", "X-D: e"}}
	if diff := cmp.Diff(params, cfg.Services[0].Servers[0].Check.Params); diff != "" {
		t.Error(diff)
	}
}

func TestCheckMayBeAList(t *testing.T) {
	cfg, err := Parse("f", []byte(`interfaces: [eth0]
services:
  - vip: 192.0.2.1
    port: 80
    check: [{type: tcp}, {type: http, path: /, interval: 9s}]
    servers:
      - address: 10.0.0.1
      - address: 10.0.0.2
        check: {type: ping}
      - address: 10.0.0.3
        check:
          - type: http
            path: /3
          - type: dns
            port: 53
  - vip: 192.0.2.2
    port: 80
    check: [{type: http}]
`))
	if err != nil {
		t.Fatal(err)
	}
	web := cfg.Services[0]
	if diff := cmp.Diff([]lb.Check{{Type: "tcp"}, {Type: "http", Params: map[string]any{"path": "/"}, Interval: 9 * time.Second}},
		append([]lb.Check{web.Check}, web.MoreChecks...), sameConfig); diff != "" {
		t.Error(diff)
	}
	if r := web.Servers[1]; r.Check.Type != "ping" || r.MoreChecks != nil {
		t.Errorf("got %+v", r)
	}
	if r := web.Servers[2]; r.Check.Type != "http" || len(r.MoreChecks) != 1 || r.MoreChecks[0].Port != 53 {
		t.Errorf("got %+v", r)
	}
	roundTrip(t, cfg) // that of one is still a list
}

func TestChecksMayBeOfTheEnvironmentsTypes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golb.yaml")
	text := strings.Replace(valid, "    servers:", "    check: {type: mine, color: red}\n    servers:", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), `5:19: services[0].check.type: "mine": no such type of check`) {
		t.Errorf("without it: %v", err)
	}
	env := lb.Env{Checks: health.NewRegistry(append(health.Builtin(), health.Type{Name: "mine", About: "my own", Bind: func(k *health.Keys, _ health.Peer) health.Checker {
		color := ""
		k.Choice(&color, "color", "blue", "which", "red", "blue")
		return health.On
	}})...)}
	doc, err := ReadIn(env, path)
	if err != nil {
		t.Fatal(err)
	}
	if doc.Config.Services[0].Check.Type != "mine" {
		t.Errorf("got %+v", doc.Config)
	}
}
