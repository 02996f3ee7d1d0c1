package lb

import (
	"encoding"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A struct of a Config without its own JSON would lose or rename what package json does
// not know of: durations, keys.
func TestEveryStructOfConfigIsJSON(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	type jsonValue interface {
		json.Marshaler
		json.Unmarshaler
	}
	walk = func(typ reflect.Type) {
		if seen[typ] || typ == reflect.TypeFor[Env]() {
			return
		}
		seen[typ] = true
		pointer := reflect.PointerTo(typ)
		switch {
		case pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			if !typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
				t.Errorf("%s reads text and writes none", typ)
			}
			return
		case typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map:
			walk(typ.Elem())
		case typ.Kind() == reflect.Struct:
			if !pointer.Implements(reflect.TypeFor[jsonValue]()) || !typ.Implements(reflect.TypeFor[json.Marshaler]()) {
				t.Errorf("%s has no MarshalJSON and UnmarshalJSON: config_json.go", typ)
			}
			for i := range typ.NumField() {
				walk(typ.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	if len(seen) < 20 {
		t.Errorf("found %d types only", len(seen))
	}
}

func TestConfigIsJSONWithTheKeysOfFiles(t *testing.T) {
	zero := 0
	service := Service{
		VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Method: NAT, SlowStart: 90 * time.Second, WhenDown: DownLastKnown,
		Check:   Check{Type: "http", Interval: 5 * time.Second, Params: map[string]any{"path": "/<&>", "header": []any{"A: b"}}},
		Alerts:  Alerts{Mail: []MailAlert{}},
		Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1"), Weight: &zero}},
	}
	const want = `{"vip":"192.0.2.1","port":80,"method":"nat","slow_start":"1m30s","when_down":"last_known",` +
		`"check":{"type":"http","interval":"5s","header":["A: b"],"path":"/\u003c\u0026\u003e"},"alerts":{"mail":[]},"servers":[{"address":"10.0.0.1","weight":0}]}`
	got, err := json.Marshal(service)
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	var back Service
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, service) {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestReadingJSONNamesEveryMistake(t *testing.T) {
	const text = `{"interfaces": "eth0", "workers": 1.5, "cpus": [0, "1", null], "color": {"a": [1, {}]}, "settings": {"merge": "yes", "timeouts": []},
		"services": [{"vip": "192.0.2", "port": 65536, "name": 5, "methd": "nat", "method": "direct", "slow_start": 5, "slow_start": "1s",
			"check": {"type": "tcp", "checktype": "http", "a": null, "b": {"c": 1, "c": 2}}, "servers": [[], {"address": ""}]}]}`
	const want = `interfaces: "eth0": a single value; allowed: a list: [eth0]
workers: "1.5": not a whole number; allowed: a whole number
cpus[1]: "1": a number in quotes; allowed: a whole number
cpus[2]: no value; allowed: a whole number
color: unknown key; allowed: …
settings.merge: "yes": not true or false; allowed: true or false
settings.timeouts: a list; allowed: a mapping with the keys …
services[0].vip: "192.0.2": IPv4 address too short; allowed: an IPv4 or IPv6 address
services[0].port: "65536": out of range; allowed: a whole number, 0 to 65535
services[0].name: "5": not text; allowed: text; in quotes "5" is
services[0].methd: unknown key, did you mean "method"?; allowed: …
services[0].method: "direct": unknown name: golb says dsr; allowed: dsr, nat or tun
services[0].slow_start: "5": a duration without a unit; allowed: a number and a unit, such as 500ms, 5s or 2m; 5s for seconds
services[0].slow_start: key given twice
services[0].check.checktype: given twice: the same as type
services[0].check.a: no value
services[0].check.b.c: key given twice
services[0].servers[0]: a list; allowed: a mapping with the keys …
services[0].servers[1].address: empty; allowed: an IPv4 or IPv6 address`
	cfg := Config{Workers: 7}
	err := json.Unmarshal([]byte(text), &cfg)
	var errs ConfigErrors
	if !errors.As(err, &errs) {
		t.Fatalf("got %T %v, want ConfigErrors", err, err)
	}
	wanted := strings.Split(want, "\n")
	for i, e := range errs {
		begin, cut := strings.CutSuffix(append(wanted, "nothing")[min(i, len(wanted))], "…")
		if got := e.Error(); got != begin && !(cut && strings.HasPrefix(got, begin)) {
			t.Errorf("got %s, want %s", got, begin)
		}
	}
	if len(errs) != len(wanted) {
		t.Errorf("got %d mistakes, want %d", len(errs), len(wanted))
	}
	if !reflect.DeepEqual(cfg, Config{Workers: 7}) {
		t.Errorf("what has mistakes was taken: %+v", cfg)
	}
}

func TestReadingJSONKeepsWhatItDoesNotName(t *testing.T) {
	server := Server{Name: "a", Port: 80}
	if err := json.Unmarshal([]byte(`{"port": 81, "check": {"path": "/"}}`), &server); err != nil {
		t.Fatal(err)
	}
	if server.Name != "a" || server.Port != 81 || server.Check.Params["path"] != "/" {
		t.Errorf("got %+v", server)
	}
	target := struct{ Server, Other Server }{Server: server}
	if err := json.Unmarshal([]byte(`{"Server": null, "Other": {"port": 1}}`), &target); err != nil || target.Server.Port != 81 || target.Other.Port != 1 {
		t.Errorf("got %+v, %v", target, err)
	}
	if err := json.Unmarshal([]byte(`{"port": 81`), &server); err == nil {
		t.Error("half a server was taken")
	}
}

func TestTextsOfAConfigReadBack(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		String() string
	}
	texts := []text{VIP{netip.MustParsePrefix("192.0.2.1/32")}, VIP{netip.MustParsePrefix("192.0.2.0/24")}, VIP{netip.MustParsePrefix("::/0")}, Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Ports(nil), Ports{{80, 80}, {1, 65535}}}
	for p := range protocolNames {
		texts = append(texts, p)
	}
	for m := range methodNames {
		texts = append(texts, m)
	}
	for x := range tunnelNames {
		texts = append(texts, x)
	}
	for a := range downPolicyNames {
		texts = append(texts, a)
	}
	for _, v := range texts {
		b, err := v.MarshalText()
		if err != nil || string(b) != v.String() {
			t.Errorf("%T %v: %s, %v", v, v, b, err)
		}
		back := reflect.New(reflect.TypeOf(v))
		if err := back.Interface().(encoding.TextUnmarshaler).UnmarshalText(b); err != nil || !reflect.DeepEqual(back.Elem().Interface(), v) {
			t.Errorf("%T %v: %s is %v, %v", v, v, b, back.Elem(), err)
		}
	}
	for _, v := range []text{Protocol(0), Method(0), VIP{}} { // not given
		b, err := v.MarshalText()
		back := reflect.New(reflect.TypeOf(v))
		if err != nil || len(b) > 0 || back.Interface().(encoding.TextUnmarshaler).UnmarshalText(b) != nil || !back.Elem().IsZero() {
			t.Errorf("%T %v: %q, %v", v, v, b, err)
		}
	}
	for _, v := range []text{Protocol(1), Method(9), TunnelType(9), DownPolicy(9), VIP{netip.MustParsePrefix("192.0.2.1/24")}, Prefix{}, Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Ports{{0, 1}}, Ports{{2, 1}}} {
		if b, err := v.MarshalText(); err == nil {
			t.Errorf("%T %v: %s, want an error", v, v, b)
		}
	}
}
