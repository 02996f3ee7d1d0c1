package conf

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func keys[T any]() string {
	return strings.TrimPrefix(fields.Allowed(reflect.TypeFor[T]()), "a mapping with the keys ")
}

func lbNames(u interface{ UnmarshalText([]byte) error }) string {
	return strings.TrimPrefix(u.UnmarshalText([]byte("?")).Error(), "allowed: ")
}

// kinds has every kind of field that a Config may come to have.
type kinds struct {
	Flag    bool                     `yaml:"flag"`
	Small   int8                     `yaml:"small"`
	Number  *uint32                  `yaml:"number"`
	Text    *string                  `yaml:"text"`
	Wait    *time.Duration           `yaml:"wait"`
	Net     netip.Prefix             `yaml:"net"`
	To      *netip.AddrPort          `yaml:"to"`
	Labels  map[string]string        `yaml:"labels"`
	Waits   map[string]time.Duration `yaml:"waits"`
	Inner   *inner                   `yaml:"inner"`
	Many    map[string]inner         `yaml:"many"`
	Matrix  [][]int                  `yaml:"matrix"`
	Methods []lb.Method              `yaml:"methods"`
	Hidden  func()                   `yaml:"-"`
	Odd     chan int                 `yaml:"odd"`
}

type inner struct {
	A int `yaml:"a"`
}

func decodeKinds(t *testing.T, text string) (kinds, string) {
	t.Helper()
	body, err := parse("f", text)
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoder("f")
	var k kinds
	d.decode(fields.TypeOf(reflect.TypeOf(k)), body, body, reflect.ValueOf(&k).Elem())
	d.errs.sort()
	return k, d.errs.Error()
}

func TestDecodeEveryKind(t *testing.T) {
	got, errs := decodeKinds(t, `
flag: true
small: -128
number: 4294967295
text: ""
wait: 0
net: 10.0.0.0/8
to: "[2001:db8::1]:80"
labels: {a: b, 1: "2", "x.y": z}
waits: {a: 1s}
inner: {a: 1}
many: {x: {a: 2}}
matrix: [[1, 2], [], [3]]
methods: [dsr, NAT]
`)
	if errs != "" {
		t.Fatal(errs)
	}
	number, text, wait := uint32(4294967295), "", time.Duration(0)
	to := netip.MustParseAddrPort("[2001:db8::1]:80")
	want := kinds{
		Flag: true, Small: -128, Number: &number, Text: &text, Wait: &wait,
		Net: netip.MustParsePrefix("10.0.0.0/8"), To: &to,
		Labels: map[string]string{"a": "b", "1": "2", "x.y": "z"},
		Waits:  map[string]time.Duration{"a": time.Second},
		Inner:  &inner{1}, Many: map[string]inner{"x": {2}},
		Matrix: [][]int{{1, 2}, {}, {3}}, Methods: []lb.Method{lb.DSR, lb.NAT},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b func()) bool { return (a == nil) == (b == nil) })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefusesEveryKind(t *testing.T) {
	_, got := decodeKinds(t, `
flag: yes
small: 128
number: -1
text: []
wait: 5m5
net: 10.0.0.0
to: 192.0.2.1
labels: {a: 5, a: b}
waits: [a]
inner: {b: 1}
many: {x: 5}
matrix: [1, [x]]
methods: [drs]
hidden: 1
odd: 1
`)
	want := `f:2:7: flag: "yes": not true or false; allowed: true or false
f:3:8: small: "128": out of range; allowed: a whole number, -128 to 127
f:4:9: number: "-1": out of range; allowed: a whole number, 0 to 4294967295
f:5:7: text: a list; allowed: text
f:6:7: wait: "5m5": not a duration; allowed: a number and a unit, such as 500ms, 5s or 2m
f:7:6: net: "10.0.0.0": no '/'; allowed: an address and a prefix length, such as 192.0.2.0/24
f:8:5: to: "192.0.2.1": not an ip:port; allowed: an address and a port, such as 192.0.2.1:80 or [2001:db8::1]:80
f:9:13: labels.a: "5": not text; allowed: text; in quotes "5" is
f:9:16: labels.a: key given twice, first on line 9
f:10:8: waits: a list; allowed: a mapping
f:11:9: inner.b: unknown key, did you mean "a"?; allowed: a
f:12:11: many.x: "5": a single value; allowed: a mapping with the keys a
f:13:10: matrix[0]: "1": a single value; allowed: a list: [1]
f:13:14: matrix[1][0]: "x": not a whole number; allowed: a whole number
f:14:11: methods[0]: "drs": unknown name; allowed: ` + lbNames(new(lb.Method)) + `
f:15:1: hidden: unknown key; allowed: flag, small, number, text, wait, net, to, labels, waits, inner, many, matrix, methods, odd
f:16:6: odd: "1": a chan int cannot be set in a file`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(valid)
	f.Add("a: &a [*a]\n<<: *a\n")                                 // cycle
	f.Add("services: [[[[{}]]]]\n? {a: b}\n: c\n")                // complex keys
	f.Add("%YAML 1.2\n---\nworkers: 1\n...\n---\n!!int 5")        // directives, documents
	f.Add("services:\n- vip: |\n    192.0.2.1\n  port: >+\n   x") // blocks
	f.Add("interfaces: {}\nworkers: -0x1\nmax_connections: .inf\r\n\tx: y")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Parse("f", []byte(text))
		if err == nil {
			if err := cfg.Validate(lb.Env{}); err != nil {
				t.Fatalf("accepted an invalid config: %v", err)
			}
			return
		}
		errs, ok := err.(Errors)
		if !ok || len(errs) == 0 {
			t.Fatalf("got %T %v, want Errors", err, err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		last := position{}
		for _, e := range errs {
			at := position{e.Line, e.Column}
			if at.line < 1 || at.column < 1 || at.line > lines || e.Problem == "" {
				t.Errorf("%v in a file of %d lines", e, lines)
			}
			if at.line < last.line || at.line == last.line && at.column < last.column {
				t.Errorf("%v out of order", e)
			}
			last = at
		}
	})
}
