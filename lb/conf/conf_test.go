package conf

import (
	"encoding"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// valid is a config without mistakes; tests break one thing in it.
const valid = `interfaces: [eth0]
services:
  - vip: 192.0.2.1
    port: 80
    servers:
      - address: 10.0.0.1
`

func TestParseReadsEveryKindOfField(t *testing.T) {
	got, err := Parse("golb.yaml", []byte(`# comment
---
interfaces:
  - eth0
  - "eth1"
workers: 2
services:
  - name: 'web, the main one' # comment
    vip: 2001:db8::1
    protocol: TCP
    port: 80
    scheduler: wrr
    method: dsr
    check: {type: tcp, interval: 1m30s, fall: 4}
    servers:
    - {address: "2001:db8::2", weight: 0}
    - address: 2001:db8::3
      name: >-
        second
        one
`))
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	want := lb.Config{Interfaces: []string{"eth0", "eth1"}, Workers: 2}
	want.Services = []lb.Service{{
		Name: "web, the main one", VIP: addr("2001:db8::1"), Protocol: lb.TCP, Port: 80, Scheduler: "wrr", Method: lb.DSR,
		Check: lb.Check{Type: "tcp", Interval: 90 * time.Second, Fall: 4},
		Servers: []lb.Server{
			{Address: addr("2001:db8::2"), Weight: &zero},
			{Address: addr("2001:db8::3"), Name: "second one"},
		},
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(want.Services[0].VIP)); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreReportedWithTheirPlace(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // in good; old "" means that new is the whole file
		want     string // without the file name; … stands for what package lb has to say
	}{
		{"unknown key", "port: 80", "port: 80\n    color: red", `5:5: services[0].color: unknown key; allowed: ` + keys[lb.Service]()},
		{"empty key", "port: 80", "port: 80\n    \"\": red", `5:5: services[0].: unknown key; allowed: ` + keys[lb.Service]()},
		{"mistyped key is not missing too", "port: 80", "prot: 80", `4:5: services[0].prot: unknown key, did you mean "port"?; allowed: ` + keys[lb.Service]()},
		{"key in another case", "interfaces", "Interfaces", `1:1: Interfaces: unknown key, did you mean "interfaces"?; allowed: ` + keys[lb.Config]()},
		{"duplicate key", "port: 80", "port: 80\n    port: 81", `5:5: services[0].port: key given twice, first on line 4`},
		{"first of duplicate keys is validated", "port: 80", "port: 80\n    check: {fall: -1, fall: 81}", "5:19: services[0].check.fall: \"-1\": out of range; allowed: 1 to 1000\n" +
			`5:23: services[0].check.fall: key given twice, first on line 5`},
		{"bad address", "10.0.0.1", "10.0.0", `6:18: services[0].servers[0].address: "10.0.0": IPv4 address too short; allowed: an IPv4 or IPv6 address`},
		{"address with a port", "10.0.0.1", "10.0.0.1:80", `6:18: services[0].servers[0].address: "10.0.0.1:80": an address with a port, which has a key of its own; allowed: an IPv4 or IPv6 address`},
		{"empty address", "10.0.0.1", `""`, `6:18: services[0].servers[0].address: empty; allowed: an IPv4 or IPv6 address`},
		{"number for an address", "192.0.2.1", `80`, `3:10: services[0].vip: "80": unable to parse IP; allowed: an IPv4 or IPv6 address`},
		{"unknown name of an enum", "port: 80", "port: 80\n    method: direct", `5:13: services[0].method: "direct": unknown name: golb says dsr; allowed: ` + lbNames(new(lb.Method))},
		{"list for an enum", "port: 80", "port: 80\n    protocol: [tcp]", `5:15: services[0].protocol: a list; allowed: ` + lbNames(new(lb.Protocol))},
		{"plain number for a duration", "port: 80", "port: 80\n    check: {interval: 5}", `5:23: services[0].check.interval: "5": a duration without a unit; allowed: a number and a unit, such as 500ms, 5s or 2m; 5s for seconds`},
		{"bad duration", "port: 80", "port: 80\n    check: {interval: 5 sec}", `5:23: services[0].check.interval: "5 sec": not a duration; allowed: a number and a unit, such as 500ms, 5s or 2m`},
		{"number too large for its type", "80", "65536", `4:11: services[0].port: "65536": out of range; allowed: a whole number, 0 to 65535`},
		{"negative port", "80", "-1", `4:11: services[0].port: "-1": out of range; allowed: a whole number, 0 to 65535`},
		{"number beyond 64 bits", "interfaces", "workers: 99999999999999999999\ninterfaces", `1:10: workers: "99999999999999999999": out of range; allowed: a whole number`},
		{"text for a number", "80", "http", `4:11: services[0].port: "http": not a whole number; allowed: a whole number, 0 to 65535`},
		{"fraction", "80", "80.0", `4:11: services[0].port: "80.0": not a whole number; allowed: a whole number, 0 to 65535`},
		{"hexadecimal", "80", "0x50", `4:11: services[0].port: "0x50": not a whole number; allowed: a whole number, 0 to 65535`},
		{"leading zero", "80", "0120", `4:11: services[0].port: "0120": a number with leading zeros; allowed: a whole number, 0 to 65535`},
		{"quoted number", "80", "'80'", `4:11: services[0].port: "80": a number in quotes; allowed: a whole number, 0 to 65535`},
		{"number for text", "port: 80", "port: 80\n    name: 80", `5:11: services[0].name: "80": not text; allowed: text; in quotes "80" is`},
		{"boolean for text", "eth0", "true", `1:14: interfaces[0]: "true": not text; allowed: text; in quotes "true" is`},
		{"value for a list", "[eth0]", "eth0", `1:13: interfaces: "eth0": a single value; allowed: a list: [eth0]`},
		{"mapping for a list", "[eth0]", "{a: eth0}", `1:13: interfaces: a mapping; allowed: a list`},
		{"value for a mapping", "\n      - address: 10.0.0.1", " [10.0.0.1]", `5:15: services[0].servers[0]: "10.0.0.1": a single value; allowed: a mapping with the keys ` + keys[lb.Server]()},
		{"list for a mapping", "port: 80", "port: 80\n    fallback:\n    - tcp", `6:5: services[0].fallback: a list; allowed: a mapping with the keys ` + keys[lb.Fallback]()},
		{"value for a mapping in a list", "port: 80", "port: 80\n    check:\n    - tcp", `6:7: services[0].check[0]: "tcp": a single value; allowed: a mapping with the keys ` + keys[lb.Check]()},
		{"empty list for one or more", "port: 80", "port: 80\n    check: []", `5:12: services[0].check: an empty list; allowed: a mapping with the keys ` + keys[lb.Check]()},
		{"mistake in a list of one", "port: 80", "port: 80\n    check: [{type: http, fall: -1}]", `5:32: services[0].check[0].fall: "-1": out of range; allowed: 1 to 1000`},
		{"mistakes in a list", "port: 80", "port: 80\n    check: [{type: tcp, through: vip}, {type: http, expect: \"[\"}, {type: tcp, through: vip, rise: -1}]",
			"5:61: services[0].check[1].expect: \"[\": missing closing ]: [; allowed: a regular expression, RE2\n" +
				"5:88: services[0].check[2].through: \"vip\": given by another check of the service; allowed: one of them\n" +
				`5:99: services[0].check[2].rise: "-1": out of range; allowed: 1 to 1000`},
		{"too many checks", "port: 80", "port: 80\n    check: [" + strings.Repeat("{type: tcp}, ", 17) + "]", `5:12: services[0].check: "17": too many checks; allowed: 1 to 16`},
		{"server's check of no type among several", "10.0.0.1", "10.0.0.1\n        check: {port: 81}\n    check: [{type: tcp}, {type: http}]",
			`7:16: services[0].servers[0].check.type: no type, and the service has several checks; allowed: the type of one of them, or another`},
		{"server's check of the true path", "10.0.0.1", "10.0.0.1\n        check: {type: ping, through: vip}",
			`7:38: services[0].servers[0].check.through: "vip": the true path is checked for all servers or none; allowed: in the service's check`},
		{"server's check of another type", "10.0.0.1", "10.0.0.1\n        check: {type: dns, path: /}\n    check: {type: http, path: /}",
			"7:28: services[0].servers[0].check.path: unknown key; allowed: type, …"},
		{"no value", "port: 80", "port:", `4:5: services[0].port: no value; allowed: a whole number, 0 to 65535`},
		{"null", "port: 80", "port: null", `4:5: services[0].port: no value; allowed: a whole number, 0 to 65535`},
		{"no value for a pointer", "10.0.0.1", "10.0.0.1\n        weight: ~", `7:9: services[0].servers[0].weight: no value; allowed: a whole number`},
		{"empty list item", "10.0.0.1", "10.0.0.1\n      -", `7:9: services[0].servers[1]: no value; allowed: a mapping with the keys ` + keys[lb.Server]()},
		{"anchor", "192.0.2.1", "&a 192.0.2.1", `3:10: services[0].vip: anchor (&); allowed: the value itself, written out`},
		{"alias", "192.0.2.1", "*a", `3:10: services[0].vip: alias (*); allowed: the value itself, written out`},
		{"merge key", "port: 80", "port: 80\n    <<: *a", `5:5: services[0].<<: merge key (<<); allowed: the keys and values themselves, written out`},
		{"tag", "192.0.2.1", "!ip 192.0.2.1", `3:10: services[0].vip: tag (!); allowed: the value itself, written out`},
		{"behind an anchor", "192.0.2.1", "&ip 192.0.2", "3:10: services[0].vip: anchor (&); allowed: the value itself, written out\n" +
			`3:14: services[0].vip: "192.0.2": IPv4 address too short; allowed: an IPv4 or IPv6 address`},
		{"complex key", "port: 80", "port: 80\n    ? [a]\n    : b", `6:5: not YAML: found an invalid key for this map`},
		{"question mark", "port: 80", "port: 80\n    ? color\n    : red", `5:5: services[0]: complex key; allowed: a plain word before a colon`},
		{"syntax", "[eth0]", "[eth0", `2:1: not YAML: ',' or ']' must be specified`},
		{"colon at the end of a value", "192.0.2.1", "fd00::", `3:10: not YAML: mapping value is not allowed in this context (a value with a colon before a space or at its end needs quotes)`},
		{"tab", "  - vip", "\t- vip", `3:1: not YAML: a tab; lines are indented with spaces`},
		{"second document", "interfaces", "---\na: 1\n---\ninterfaces", `4:1: a second document; allowed: one document a file`},
		{"empty file", "", "", `1:1: empty file; allowed: interfaces and services`},
		{"comments only", "", "# nothing\n", `1:1: empty file; allowed: interfaces and services`},
		{"list at the top", "", "- a\n", `1:1: a list; allowed: a mapping with the keys ` + keys[lb.Config]()},
		{"not UTF-8", "eth0", "eth\xff", `1:17: not text; allowed: UTF-8 without control characters`},
		{"control character", "eth0", "eth\x00", `1:17: not text; allowed: UTF-8 without control characters`},
		{"brackets without end", "", strings.Repeat("[", 100000), `1:65: nested too deep; allowed: 64 levels`},
		{"dashes without end", "", strings.Repeat("- ", 100000), `1:129: nested too deep; allowed: 64 levels`},
		{"columns are characters", "[eth0]", "['é', 5]", `1:19: interfaces[1]: "5": not text; allowed: text; in quotes "5" is`},
		{"found by validation", "10.0.0.1", "10.0.0.1\n        weight: 65536", `7:17: services[0].servers[0].weight: "65536": …`},
		{"processor named twice", "interfaces", "cpus: [1, 2, 1]\ninterfaces", `1:14: cpus[2]: "1": named twice; allowed: each processor once`},
		{"no processor", "interfaces", "cpus: [-1]\ninterfaces", `1:8: cpus[0]: "-1": out of range; allowed: the number of a processor, from 0 on`},
		{"mark of nothing", "port: 80", "port: 80\n    mark: 7", `5:11: services[0].mark: "7": a mark of nothing; allowed: only with match, which says what has the mark`},
		{"missing key is at what lacks it", "    port: 80\n", "", `3:5: services[0].port: no port…`},
		{"missing key of the file", "interfaces: [eth0]\n", "", `1:1: interfaces: no …`},
		{"empty list", "[eth0]", "[]", `1:13: interfaces: no …`},
		{"two services alike", "interfaces: [eth0]\nservices:", "interfaces: [eth0]\nservices:\n  - {vip: 192.0.2.1, port: 80, servers: [{address: 10.0.0.2}]}",
			`4:10: services[1].vip: …`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.new
			if tt.old != "" {
				text = strings.Replace(valid, tt.old, tt.new, 1)
				if text == valid {
					t.Fatal("nothing changed")
				}
			}
			cfg, err := Parse("f", []byte(text))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want Errors", err)
			}
			got := strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]
			begin, cut := strings.CutSuffix(tt.want, "…")
			if got != tt.want && !(cut && strings.HasPrefix(got, begin) && !strings.Contains(got, "\n")) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if len(cfg.Services) != 0 || len(cfg.Interfaces) != 0 {
				t.Error("a bad file gave a config")
			}
		})
	}
}

func TestMistakesComeInTheOrderOfTheFile(t *testing.T) {
	_, err := Parse("f", []byte("services:\n- port: 0\n  vip: x\n  servers:\n  - weight: 70000\n    bad: 1\nworkers: -1\n"))
	var got []string
	for line := range strings.Lines(err.Error()) {
		place, _, _ := strings.Cut(line, ": ")
		got = append(got, place)
	}
	want := []string{"f:1:1", "f:2:9", "f:3:8", "f:5:5", "f:5:13", "f:6:5", "f:7:10"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

func TestByteOrderMarkIsAccepted(t *testing.T) {
	if _, err := Parse("f", []byte("\ufeff"+valid)); err != nil {
		t.Error(err)
	}
}

func TestPlacesHoldInEveryLayout(t *testing.T) {
	layouts := map[string]string{
		"comments":            "# a\n\n  # b é\nworkers: BAD # c\n",
		"comment between":     "workers:  # c\n  # d\n\n  BAD\n",
		"trailing blanks":     "workers:  BAD \t  \n",
		"blanks on lines":     "  \n \t\ninterfaces:   \n  - é   \n  \nworkers: BAD\n",
		"indented":            "\n\n   interfaces: [a]\n   workers: BAD",
		"document start":      "--- # x\nworkers: BAD\n...\n",
		"flow":                "{ interfaces: [a, 'b',\n \"c\\\"\\u00e9\"] ,\n  workers:   BAD }",
		"JSON":                "{\n\t\"interfaces\": [\"a\"],\n\t\"workers\": BAD\n}",
		"after quotes":        "interfaces: ['it''s',\n   \"a\\\n    b\"]\nworkers: BAD",
		"after folded quotes": "interfaces:\n- \"a\n\n   b\"\n- 'x\n  y'\nworkers: BAD",
		"after a block":       "interfaces:\n- |\n  x\n\n   y\n\n- >-\n  z\n\nworkers: BAD",
		"after plain lines":   "interfaces:\n- x\n  y\n\n  z\nworkers: BAD",
		"in a list":           "services:\n- check:\n    fall: 1\n  # x\n-   check:   \n      fall:   BAD",
		"no space in lists":   "services:\n-\n  check: {fall: BAD}",
		"quoted key":          "\"workers\"  : BAD",
	}
	for name, unix := range layouts {
		for ending, text := range map[string]string{"LF": unix, "CRLF": strings.ReplaceAll(unix, "\n", "\r\n"), "CR": strings.ReplaceAll(unix, "\n", "\r")} {
			t.Run(name+" "+ending, func(t *testing.T) {
				before, _, _ := strings.Cut(unix, "BAD")
				want := position{line: strings.Count(before, "\n") + 1, column: 1}
				for range before[strings.LastIndex(before, "\n")+1:] {
					want.column++
				}
				_, err := Parse("f", []byte(text))
				var errs Errors
				errors.As(err, &errs)
				for _, e := range errs {
					if e.Value == "BAD" {
						if got := (position{e.Line, e.Column}); got != want {
							t.Errorf("got %v, want %v", got, want)
						}
						return
					}
				}
				t.Errorf("not found: %v", err)
			})
		}
	}
}

func TestLocateFindsPlacesLater(t *testing.T) {
	d, err := ReadBytes("f", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	got := d.Locate(lb.ConfigErrors{
		{Path: "services[0].vip", Value: "192.0.2.1", Problem: "is local"},
		{Path: "interfaces[0]", Value: "eth0", Problem: "no such interface"},
		{Path: "services[0].check.port", Value: "0", Problem: "absent"},
	})
	want := "f:1:14: interfaces[0]: \"eth0\": no such interface\n" +
		"f:3:5: services[0].check.port: absent\n" +
		"f:3:10: services[0].vip: \"192.0.2.1\": is local"
	if got.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", got, want)
	}
	other := errors.New("other")
	if d.Locate(other) != other || d.Locate(nil) != nil {
		t.Error("an error without paths was changed")
	}
}

func TestFurtherChecksAreReportedTogether(t *testing.T) {
	host := func(c *lb.Config) error {
		return lb.ConfigErrors{{Path: "interfaces[0]", Value: c.Interfaces[0], Problem: "no such interface"}}
	}
	again := func(*lb.Config) error {
		return lb.ConfigErrors{
			{Path: "interfaces[0]", Problem: "known already"},
			{Path: "services[0].servers[0].address", Problem: "the result of another"},
		}
	}
	_, err := ReadBytes("f", []byte(strings.Replace(valid, "10.0.0.1", "x", 1)), host, again)
	want := `f:1:14: interfaces[0]: "eth0": no such interface
f:6:18: services[0].servers[0].address: "x": a name, which golb does not look up; allowed: an IPv4 or IPv6 address`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	other := errors.New("other")
	if _, err := ReadBytes("f", []byte(valid), func(*lb.Config) error { return other }); err != other {
		t.Errorf("got %v, want %v", err, other)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
	path := filepath.Join(dir, "golb.yaml")
	if err := os.WriteFile(path, []byte("workers: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1:1: ") {
		t.Errorf("got %v, want errors of %s", err, path)
	}
	if err := os.WriteFile(path, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := Load(path); err != nil || len(cfg.Services) != 1 {
		t.Errorf("got %v, %v", cfg, err)
	}
}

// A field that lb.Config gains must either be readable or be marked as not of the file.
func TestEveryFieldOfConfigCanBeRead(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch {
		case typ == reflect.TypeFor[time.Duration](), reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			if fields.Allowed(typ) == "" {
				t.Errorf("%s: nothing says what a %s may be", path, typ)
			}
			return
		}
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(path+"[]", typ.Elem())
		case reflect.Map:
			if typ.Key().Kind() != reflect.String {
				t.Errorf("%s: a map of %s", path, typ.Key())
			}
			walk(path+".*", typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				if options == "more" { // the items after the first of the field before
					options = ""
				}
				switch {
				case !f.IsExported() || name == "-":
				case options == "inline" && name == "" && f.Type == reflect.TypeFor[map[string]any]():
				case name == "" || options != "":
					t.Errorf("%s.%s: tag %q", path, f.Name, f.Tag)
				default:
					walk(fields.Join(path, name), f.Type)
				}
			}
		case reflect.String, reflect.Bool,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		default:
			t.Errorf("%s: a %s", path, typ)
		}
	}
	walk("", reflect.TypeFor[lb.Config]())
}
