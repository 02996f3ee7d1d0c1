package lb_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/golb/golb/health"
	"github.com/golb/golb/health/alert"
	"github.com/golb/golb/lb"
)

// hostile is a text that a peer may send: escapes, new lines, another writing direction,
// bytes that are no UTF-8.
const hostile = "evil\x1b[2J\x1b]0;title\x07\r\n\u202e\x9b\xff\u2028web"

// printables holds every text against what a terminal, a log and a mail can take.
type printables struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]bool // places that quoted the hostile text
}

func (p *printables) check(place, text string) {
	if place == "webhook text" { // one event a line
		text = strings.ReplaceAll(text, "\n", "")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(text, "evil") {
		p.seen[place] = true
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		p.t.Errorf("%s: %q", place, text)
	}
}

// Enabled, Handle, WithAttrs and WithGroup make it the handler of a log.
func (p *printables) Enabled(context.Context, slog.Level) bool { return true }

func (p *printables) Handle(_ context.Context, r slog.Record) error {
	p.check("log", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		p.check("log", a.Value.String())
		return true
	})
	return nil
}

func (p *printables) WithAttrs([]slog.Attr) slog.Handler { return p }
func (p *printables) WithGroup(string) slog.Handler      { return p }

// json checks all texts in the JSON of a value.
func (p *printables) json(place string, v any) {
	p.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	var any any
	if err := json.Unmarshal(b, &any); err != nil {
		p.t.Fatal(err)
	}
	p.value(place, any)
}

func (p *printables) value(place string, v any) {
	switch v := v.(type) {
	case string:
		p.check(place, v)
	case []any:
		for _, item := range v {
			p.value(place, item)
		}
	case map[string]any:
		for key, item := range v {
			p.value(place+" "+key, item)
		}
	}
}

// TestTextOfPeersIsPrintableEverywhere: whatever a peer sends, no way out of golb carries
// more than printable text: log, events, alerts, lists, health.
func TestTextOfPeersIsPrintableEverywhere(t *testing.T) {
	sources := map[string]func(s *lb.Service, env *lb.Env){
		"a type of check": func(s *lb.Service, env *lb.Env) {
			a := &answers{}
			a.set(server4(1), hostile)
			s.Check, env.Checks = lb.Check{Type: "ask", Interval: time.Second}, a.registry()
		},
		"a checker of the program": func(_ *lb.Service, env *lb.Env) {
			env.Checker = func(*lb.Service, *lb.Server) health.Checker {
				return health.CheckerFunc(func(context.Context) error { return errors.New(hostile) })
			}
		},
		"an agent's reason": func(s *lb.Service, env *lb.Env) {
			a := &agents{}
			a.set("10.0.0.1:3333", "down # "+strings.ReplaceAll(hostile, "\n", ""))
			s.Check, s.Agent, env.Dial = lb.Check{Type: "none"}, lb.Agent{Type: "tcp", Interval: time.Second}, a.dial
		},
		"an agent that speaks otherwise": func(s *lb.Service, env *lb.Env) {
			a := &agents{}
			a.set("10.0.0.1:3333", hostile)
			s.Check, s.Agent, env.Dial = lb.Check{Type: "none"}, lb.Agent{Type: "tcp", Interval: time.Second}, a.dial
		},
		"an error of the network": func(s *lb.Service, _ *lb.Env) { s.Check = lb.Check{Type: "tcp", Interval: time.Second} },
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &printables{t: t, seen: map[string]bool{}}
				s := service(vip4, 1)
				s.Check = lb.Check{Type: "none"}
				b := startIn(t, lb.Config{Services: []lb.Service{s}}, func(e lb.Event) { p.json("event", e) }, func(env *lb.Env) {
					env.Logger = slog.New(p)
					env.OnAlert = func(_ context.Context, m alert.Message) error {
						p.check("subject", m.Subject)
						for line := range strings.Lines(m.Text) {
							p.check("alert", strings.TrimSuffix(line, "\n"))
						}
						p.json("webhook", m)
						return nil
					}
					env.Dial = func(context.Context, string, string) (net.Conn, error) {
						return nil, &net.OpError{Op: "dial", Err: errors.New(hostile)}
					}
					source(&s, env)
				})
				must(t, b.apply(lb.Config{Services: []lb.Service{s}}))
				time.Sleep(time.Minute)
				p.json("list", b.balancer.Stats())
				p.json("health", b.balancer.Health())
				if len(p.seen) == 0 {
					t.Error("nothing quotes the peer: the test shows nothing")
				}
			})
		})
	}
}
