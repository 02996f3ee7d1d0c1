package conf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// YAML 1.2.2, 7.3.3: a colon before a character of a plain scalar is one of it, in flow
// collections too; behind a key in quotes it is not.
func TestColonsInFlowCollectionsAreText(t *testing.T) {
	tests := []struct {
		name, text string
		want       any
	}{
		{"interface with an alias", "{x: [eth0:1]}", m{"x": l{"eth0:1"}}},
		{"IPv6 addresses", "{x: [2001:db8::1, ::1, fe80::1:2, 192.0.2.1:80]}", m{"x": l{"2001:db8::1", "::1", "fe80::1:2", "192.0.2.1:80"}}},
		{"IPv6 address of a key", "{x: 2001:db8::1, y: ::1}", m{"x": "2001:db8::1", "y": "::1"}},
		{"times", "{x: [12:30, 1:02:03]}", m{"x": l{"12:30", "1:02:03"}}},
		{"URLs", "{x: [http://192.0.2.1:80/a?b=c:d, https://h:8443], y: http://h:1/}", m{"x": l{"http://192.0.2.1:80/a?b=c:d", "https://h:8443"}, "y": "http://h:1/"}},
		{"words", "{x: [a:b c:d, e :f]}", m{"x": l{"a:b c:d", "e :f"}}},
		{"quotes and signs behind", "{x: [a:\"b\", c:'d', e:#f, g:&h, i:*j, k:-l]}", m{"x": l{`a:"b"`, "c:'d'", "e:#f", "g:&h", "i:*j", "k:-l"}}},
		{"nested mappings", "{x: {y: [a:b, {z: c:d}]}, w: [e:f]}", m{"x": m{"y": l{"a:b", m{"z": "c:d"}}}, "w": l{"e:f"}}},
		{"keys", "{a:b: c, d::e: f}", m{"a:b": "c", "d::e": "f"}},
		{"lines", "{x: [\n    ::1,\n    2001:db8::1,\n  ],\n y: a:b\n}", m{"x": l{"::1", "2001:db8::1"}, "y": "a:b"}},
		{"after a list in brackets alone", "- [a:b]\n- {x: [a:b]}\n- a:b\n", l{l{"a:b"}, m{"x": l{"a:b"}}, "a:b"}},
		{"letters", "{x: [é:ü, ü:é]}", m{"x": l{"é:ü", "ü:é"}}},

		{"adjacent value of a quoted key", `{"a":b, 'c':[d:e], "f" :g}`, m{"a": "b", "c": l{"d:e"}, "f": "g"}},
		{"JSON", `{"a":"b","c":["d:e"],"f":{"g":1}}`, m{"a": "b", "c": l{"d:e"}, "f": m{"g": "1"}}},
		{"pair in a list", "{x: [a: b]}", m{"x": l{m{"a": "b"}}}},
		{"in quotes", `{x: ["a:b", 'c:d'], y: "e:\u0001:f\\"}`, m{"x": l{"a:b", "c:d"}, "y": "e:\x01:f\\"}},
		{"escape alone", `{x: "\u0001"}`, m{"x": "\x01"}},
		{"comment", "{x: [a:b]} # c:d {e:f\n", m{"x": l{"a:b"}}},
		{"block", "x: {y: a}\nz: |\n  {a:b}\n  c:d\n", m{"x": m{"y": "a"}, "z": "{a:b}\nc:d\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := parse("f", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			d := newDecoder("f")
			got, _ := d.value(body, body)
			if diff := cmp.Diff(tt.want, got); diff != "" || len(d.errs) > 0 {
				t.Error(diff, d.errs)
			}
		})
	}
}

type (
	m = map[string]any
	l = []any
)

func TestMistakesBehindColonsHaveTheirPlace(t *testing.T) {
	tests := []struct{ name, new, want string }{
		{"value", "alerts: {name: a:b, commands: [{command: /a:b, args: [é:d, 5]}]}", `1:60: alerts.commands[0].args[1]: "5": not text; allowed: text; in quotes "5" is`},
		{"next line", "alerts: {name: [a:b,\n 2001:db8::1], hold: 5}", "1:16: alerts.name: a list; allowed: text\n" +
			`f:2:22: alerts.hold: "5": a duration without a unit; allowed: a number and a unit, such as 500ms, 5s or 2m; 5s for seconds`},
		{"no blank behind a key", "settings: {answer_rate:3}", `1:12: settings.answer_rate:3: unknown key, did you mean "answer_rate: 3"?; allowed: `},
		{"no blank behind a key of others", "alerts: {webhooks: [{url: http://a:1/, header: {A:b}}]}", `1:49: alerts.webhooks[0].header.A:b: no value; allowed: text`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.new+"\n"+valid))
			if err == nil || !strings.HasPrefix(err.Error(), "f:"+tt.want) {
				t.Errorf("got  %v\nwant f:%s", err, tt.want)
			}
		})
	}
}
