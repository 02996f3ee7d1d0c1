package conf

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
	"github.com/golb/golb/lb/lbtest/seeded"
)

// decodeConfig is Parse without validation.
func decodeConfig(text []byte) (lb.Config, error) {
	var cfg lb.Config
	body, err := parse("f", string(text))
	if err != nil {
		return cfg, err
	}
	d := newDecoder("f")
	d.decode(fields.TypeOf(reflect.TypeOf(cfg)), body, body, reflect.ValueOf(&cfg).Elem())
	if len(d.errs) > 0 {
		return cfg, d.errs
	}
	return cfg, nil
}

var sameConfig = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b lb.VIP) bool { return a == b }),
	cmp.Comparer(func(a, b lb.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b lb.Env) bool { return true }), // not of a file
}

// roundTrip checks that both formats give a Config back, and that Parse reads JSON too.
func roundTrip(t interface {
	Helper()
	Errorf(string, ...any)
}, cfg lb.Config) {
	t.Helper()
	yaml, err := Marshal(cfg)
	if err != nil {
		t.Errorf("%v\nof %+v", err, cfg)
		return
	}
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	var fromJSON lb.Config
	if err := json.Unmarshal(asJSON, &fromJSON); err != nil {
		t.Errorf("%v\n%s", err, asJSON)
	} else if diff := cmp.Diff(cfg, fromJSON, sameConfig); diff != "" {
		t.Errorf("JSON: %s\n%s", diff, asJSON)
	}
	for _, text := range [][]byte{yaml, asJSON} {
		if got, err := decodeConfig(text); err != nil {
			t.Errorf("%v\n%s", err, text)
		} else if diff := cmp.Diff(cfg, got, sameConfig); diff != "" {
			t.Errorf("%s\n%s", diff, text)
		}
	}
}

// Every field there is, set to anything, comes back: a field that lb.Config gains is
// drawn too.
func TestMarshalRoundTrips(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		var cfg lb.Config
		draw(t, "config", reflect.ValueOf(&cfg).Elem())
		roundTrip(t, cfg)
	})
}

// draw sets v to something that a file can say.
func draw(t *rapid.T, label string, v reflect.Value) {
	if p, ok := v.Addr().Interface().(*lb.Prefix); ok { // in lists alone: always given
		a := drawAddr(t, label).WithZone("")
		p.Prefix, _ = a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, label+" bits"))
		return
	}
	if v.Type() == reflect.TypeFor[lb.Env]() || rapid.IntRange(0, 3).Draw(t, label+" given") == 0 {
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		*p = drawAddr(t, label)
		return
	case *lb.VIP:
		a := drawAddr(t, label).WithZone("")
		p.Prefix, _ = a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, label+" bits"))
		return
	case *forward.MAC:
		*p = forward.MAC{2, 0, 0, 0, 0, rapid.Uint8().Draw(t, label)}
		return
	case *lb.Ports:
		for range rapid.IntRange(1, 3).Draw(t, label+" ranges") {
			first := rapid.Uint16Min(1).Draw(t, label+" first")
			*p = append(*p, lb.PortRange{First: first, Last: rapid.Uint16Min(first).Draw(t, label+" last")})
		}
		return
	case *map[string]any: // of a check: keys besides those of the struct
		*p = map[string]any{"k" + drawText(t, label): drawFree(t, label, 2)}
		return
	}
	if _, named := v.Interface().(fmt.Stringer); named && v.CanUint() { // an enum's
		for v.SetUint(uint64(rapid.Uint8().Draw(t, label))); !hasName(v); {
			v.SetUint(v.Uint() & (v.Uint() - 1)) // ends at 0
			if v.IsZero() {
				return
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			draw(t, label+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		draw(t, label, v.Elem())
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, label+" length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			item := v.Index(i)
			draw(t, label, item)
			if e, ok := item.Interface().(lb.Protocol); ok && e == 0 {
				item.SetUint(uint64(lb.UDP)) // no value of a list
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 2).Draw(t, label+" length") {
			item := reflect.New(v.Type().Elem()).Elem()
			draw(t, label, item)
			v.SetMapIndex(reflect.ValueOf(drawText(t, label)), item)
		}
	case reflect.String:
		v.SetString(drawText(t, label))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{
			int64(time.Second), int64(5 * time.Minute), int64(time.Hour), math.MinInt64, math.MaxInt64})).Draw(t, label))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(rapid.Uint16().Draw(t, label)))
	default:
		t.Fatalf("%s: a %s, which this test does not know", label, v.Type())
	}
}

func hasName(v reflect.Value) bool {
	b, err := v.Interface().(interface{ MarshalText() ([]byte, error) }).MarshalText()
	return err == nil && len(b) > 0
}

func drawAddr(t *rapid.T, label string) netip.Addr {
	a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
	switch rapid.IntRange(0, 3).Draw(t, label+" kind") {
	case 0:
		return netip.AddrFrom4([4]byte(a.AsSlice()[:4]))
	case 1:
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: a.AsSlice()[15]}) // with ::
	case 2:
		return a.WithZone("eth0")
	}
	return a
}

func drawText(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9:./ {}\[\],"'#&*!|>%@-]{0,12}`),
		rapid.SampledFrom([]string{"true", "No", "null", "~", "5", "0x10", "1e3", ".inf", "- a", "a: b", "a #b", " a ", "\n", "a\nb\n", "\\", "\x01:\x02", "\u2028é\ufeff\U0001F600\x7f", "<<", "---"}),
		rapid.String(),
	).Draw(t, label)
}

// drawFree is a parameter of a check as a file gives it.
func drawFree(t *rapid.T, label string, depth int) any {
	switch rapid.IntRange(0, depth).Draw(t, label+" kind") {
	case 1:
		return []any{drawText(t, label), drawFree(t, label, depth-1)}
	case 2:
		return map[string]any{drawText(t, label): drawFree(t, label, depth-1)}
	}
	return drawText(t, label)
}

// What a fuzzer makes of a file: whatever can be read, valid or not, is written and read
// as the same.
func FuzzMarshal(f *testing.F) {
	f.Add(valid)
	f.Add(`{"interfaces":["a:b"],"alerts":{"name":"\u0001:","hold":"-1h0m0.5s"},"services":[{"check":{"x":["a",{"b":1.10}]},"match":[{"vip":"::/0","ports":"80,1-2"}]}]}`)
	f.Add("services:\n- fallback:\n    page: |\n      HTTP/1.1 200\n\n  alerts: {mail: []}\n  servers: [{weight: 0}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := decodeConfig([]byte(text))
		if err != nil {
			return
		}
		roundTrip(t, cfg)
	})
}

func TestMarshalWritesAsPeopleDo(t *testing.T) {
	const text = `interfaces: [eth0]
settings:
  merge: false
services:
  - vip: 2001:db8::100
    port: 443
    scheduler: mh
    persistence:
      timeout: 5m
    check:
      type: https
      interval: 1.5s
      expect: "^OK"
      header: ["A: b"]
      path: /check.txt
    servers:
      - address: 2001:db8::11
        weight: 0
      - name: "yes"
        address: 2001:db8::12
        method: dsr
  - match:
      - vip: 198.51.100.0/28
        protocols: [tcp, udp]
        ports: "80,8000-8099"
    alerts:
      mail: []
    servers: []
`
	cfg, err := decodeConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Marshal(cfg)
	if diff := cmp.Diff(text, string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err := Marshal(lb.Config{}); string(got) != "{}\n" || err != nil {
		t.Errorf("nothing is %q, %v", got, err)
	}
}

// A number or boolean that Go code gives a check means what its text does.
func TestMarshalWritesParametersOfGoCode(t *testing.T) {
	check := lb.Check{Params: map[string]any{
		"status": 200, "ratio": 1.5, "http2": true, "wait": 5 * time.Second,
		"header": []string{"A: b"}, "more": map[string]string{"a": "b"}, "to": netip.MustParseAddr("192.0.2.1"),
	}}
	want := map[string]any{
		"status": "200", "ratio": "1.5", "http2": "true", "wait": "5s",
		"header": []any{"A: b"}, "more": map[string]any{"a": "b"}, "to": "192.0.2.1",
	}
	yaml, err := Marshal(lb.Config{Services: []lb.Service{{Check: check}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := decodeConfig(yaml)
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON lb.Check
	asJSON, err := json.Marshal(check)
	if err == nil {
		err = json.Unmarshal(asJSON, &fromJSON)
	}
	for _, got := range []lb.Check{cfg.Services[0].Check, fromJSON} {
		if diff := cmp.Diff(want, got.Params); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
}

func TestMarshalRefusesWhatNoFileSays(t *testing.T) {
	service := func(s lb.Service) lb.Config { return lb.Config{Services: []lb.Service{s}} }
	check := func(key string, value any) lb.Config {
		return service(lb.Service{Check: lb.Check{Params: map[string]any{key: value}}})
	}
	tests := []struct {
		cfg  lb.Config
		want string
	}{
		{lb.Config{Interfaces: []string{"a\xff"}}, `interfaces[0]: "\"a\\xff\"": not UTF-8`},
		{service(lb.Service{Protocol: 9}), "services[0].protocol: protocol(9) has no name; allowed: tcp, udp or sctp"},
		{service(lb.Service{Match: []lb.Match{{Protocols: []lb.Protocol{0}}}}), "services[0].match[0].protocols[0]: no value; allowed: tcp, udp or sctp"},
		{service(lb.Service{Match: []lb.Match{{VIP: lb.VIP{Prefix: netip.MustParsePrefix("192.0.2.1/24")}}}}), "services[0].match[0].vip: 192.0.2.1/24 is neither"},
		{service(lb.Service{Match: []lb.Match{{Ports: lb.Ports{{First: 2, Last: 1}}}}}), "services[0].match[0].ports: 2-1 is not a range"},
		{check("interval", "5s"), "services[0].check.interval: a key of golb's own"},
		{check("checkport", 5), "services[0].check.checkport: a key of golb's own"},
		{check("a", nil), "services[0].check.a: no value"},
		{check("a", []any{1, struct{}{}}), "services[0].check.a[1]: a struct {} cannot be set in a file"},
		{check("a", math.NaN()), `services[0].check.a: "NaN": a float64 cannot`},
		{check("a\xff", 1), "a key that is not UTF-8"},
	}
	for _, tt := range tests {
		_, err := Marshal(tt.cfg)
		if _, ok := err.(lb.ConfigErrors); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
		if _, asJSON := json.Marshal(tt.cfg); asJSON == nil || !strings.Contains(asJSON.Error(), tt.want) {
			t.Errorf("JSON: got %v, want %s", asJSON, tt.want)
		}
	}
}
