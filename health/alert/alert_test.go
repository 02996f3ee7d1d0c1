package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps what was sent, with the time since the start.
type recorder struct {
	start time.Time
	sent  []string
	took  time.Duration // of a send
	fails int           // how many sends fail; -1 all
	err   error         // with which; nil is some
}

func (r *recorder) Send(ctx context.Context, m Message) error {
	if r.took > 0 {
		select {
		case <-time.After(r.took):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.fails != 0 {
		r.fails--
		if r.err != nil {
			return r.err
		}
		return errors.New("mail server is down")
	}
	r.sent = append(r.sent, fmt.Sprintf("%v %s | %s", time.Since(r.start), m.Subject, strings.ReplaceAll(strings.TrimSpace(m.Text), "\n", " | ")))
	return nil
}

// during runs a notifier while f adds events, and a little longer.
func during(cfg Config, f func(n *Notifier)) {
	n := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	f(n)
	cancel()
	<-ended
	synctest.Wait()
}

func down(key string) Event {
	return Event{Key: key, Service: "web", Server: key, State: "down", Reason: "connection refused", Action: "no new connections"}
}

func up(key string) Event {
	return Event{Key: key, Service: "web", Server: key, State: "up", Normal: true}
}

func TestMessages(t *testing.T) {
	tests := []struct {
		name string
		play func(n *Notifier)
		want []string
	}{
		{"one event", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(time.Hour)
		}, []string{"2s golb: web: a is down | web: a is down: connection refused; no new connections"}},
		{"what happens at once is one message", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(time.Second)
			n.Add(down("b"))
			time.Sleep(time.Hour)
		}, []string{"2s golb: web: b is down; web: a is down | web: a is down: connection refused; no new connections | web: b is down: connection refused; no new connections"}},
		{"a server that flaps causes a message once in a while", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(500 * time.Millisecond)
			for range 600 { // 10 min of a change a second
				n.Add(Event{Key: "a", Service: "web", Server: "a", State: "down"})
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour)
		}, []string{
			"2s golb: web: a is down | web: a is down: connection refused; no new connections",
			"5m2s golb: web: a is down | web: a is down after 300 changes",
			"10m2s golb: web: a is down | web: a is down after 300 changes",
		}},
		{"the first recovery is told at once, what follows later", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(10 * time.Second)
			n.Add(up("a"))
			time.Sleep(10 * time.Second)
			n.Add(down("a"))
			time.Sleep(10 * time.Second)
			n.Add(up("a"))
			time.Sleep(time.Hour)
		}, []string{
			"2s golb: web: a is down | web: a is down: connection refused; no new connections",
			"12s golb: web: a is up | web: a is up",
			"5m2s golb: web: a is up | web: a is up after 2 changes",
		}},
		{"a recovery after several failures is told at once", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(10 * time.Second)
			n.Add(down("a"))
			time.Sleep(10 * time.Second)
			n.Add(up("a"))
			time.Sleep(time.Hour)
		}, []string{
			"2s golb: web: a is down | web: a is down: connection refused; no new connections",
			"22s golb: web: a is up | web: a is up after 2 changes",
		}},
		{"a failure that was held back and told is followed by its recovery at once", func(n *Notifier) {
			n.Add(up("a"))
			n.Add(down("a"))
			time.Sleep(6 * time.Minute)
			n.Add(up("a"))
			time.Sleep(time.Hour)
		}, []string{
			"2s golb: web: a is up | web: a is up",
			"5m2s golb: web: a is down | web: a is down: connection refused; no new connections",
			"6m2s golb: web: a is up | web: a is up",
		}},
		{"the subject begins with what matters most, and leaves out its parts", func(n *Notifier) {
			for i, left := range []string{"a", "b"} {
				e := down(left)
				e.Urgency, e.Summary = 2, fmt.Sprintf("server %s of web is down, %d of 2 left", left, 1-i)
				n.Add(e)
			}
			n.Add(Event{Key: "web", Service: "web", Server: "the service", State: "down", Urgency: 3, Summary: "web DOWN: 0 of 2 servers up"})
			n.Add(Event{Key: "dns", Service: "dns", Server: "d", State: "down", Urgency: 2, Summary: "server d of dns is down, 1 of 2 left"})
			time.Sleep(time.Hour)
		}, []string{"2s golb: web DOWN: 0 of 2 servers up; server d of dns is down, 1 of 2 left | " +
			"web: a is down: connection refused; no new connections | web: b is down: connection refused; no new connections | " +
			"web: the service is down | dns: d is down"}},
		{"the subject is silent on what has passed", func(n *Notifier) {
			n.Add(down("a"))
			n.Add(up("a"))
			time.Sleep(time.Hour)
		}, []string{"2s golb: web: a is up | web: a is down: connection refused; no new connections | web: a is up"}},
		{"a server that recovers after the hold causes a message at once", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(6 * time.Minute)
			n.Add(Event{Key: "a", Service: "web", Server: "a", State: "up"})
			time.Sleep(time.Hour)
		}, []string{"2s golb: web: a is down | web: a is down: connection refused; no new connections", "6m2s golb: web: a is up | web: a is up"}},
		{"nothing is lost at the end", func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(3 * time.Second)
			n.Add(down("a"))
			n.Add(Event{Key: "b", Service: "web", Server: "b", State: "up"})
		}, []string{"2s golb: web: a is down | web: a is down: connection refused; no new connections", "3s golb: web: a is down; web: b is up | web: b is up | web: a is down: connection refused; no new connections"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{start: time.Now()}
				during(Config{Senders: []Sender{r}}, tt.play)
				if diff := cmp.Diff(tt.want, r.sent); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAMessageIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got Message
		s := SenderFunc(func(_ context.Context, m Message) error { got = m; return nil })
		during(Config{Senders: []Sender{s}}, func(n *Notifier) {
			for i := range maxEvents + 7 {
				n.Add(down(fmt.Sprint(i)))
			}
			time.Sleep(time.Minute)
		})
		if len(got.Events) != maxEvents || got.Omitted != 7 || !strings.HasSuffix(got.Subject, "; and 502 more") || !strings.HasSuffix(got.Text, "\nand 7 more\n") {
			t.Errorf("%d events, %d omitted, %s", len(got.Events), got.Omitted, got.Subject)
		}
	})
}

// Texts of an event may quote a server: each stays one printable line of the message.
func TestMessagesArePrintable(t *testing.T) {
	const evil = "a\x1b[31mb\r\nweb: forged is down\u202e\x9b"
	const clean = "a [31mb web: forged is down"
	synctest.Test(t, func(t *testing.T) {
		var got Message
		sender := SenderFunc(func(_ context.Context, m Message) error { got = m; return nil })
		during(Config{Senders: []Sender{sender}}, func(n *Notifier) {
			n.Add(Event{Key: evil, Service: evil, Server: evil, State: evil, Reason: evil, Action: evil, Summary: evil})
			time.Sleep(time.Minute)
		})
		want := Message{
			Subject: "golb: " + clean,
			Text:    clean + ": " + clean + " is " + clean + ": " + clean + "; " + clean + "\n",
			Events:  []Event{{Key: clean, Service: clean, Server: clean, State: clean, Reason: clean, Action: clean, Changes: 1, Summary: clean}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestErrorsArePrintable(t *testing.T) {
	const evil = "\x1b[31mno\u202e\x07"
	synctest.Test(t, func(t *testing.T) {
		// A mail server speaks first. A web server that does so has broken HTTP, and what the
		// client then says depends on which of its goroutines is the first to see it.
		answers := func(speaksFirst bool, text string) func(context.Context, string, string) (net.Conn, error) {
			return func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					if !speaksFirst {
						_, _ = far.Read(make([]byte, 1))
					}
					go func() { _, _ = io.Copy(io.Discard, far) }()
					_, _ = io.WriteString(far, text)
					time.Sleep(time.Second)
				}()
				return near, nil
			}
		}
		senders := map[string]Sender{
			"mail":    &Mail{Server: "mx.example:25", From: "a@example", To: []string{"b@example"}, Dial: answers(true, "554 "+evil+"\r\n")},
			"webhook": &Webhook{URL: "http://hook.example/", Client: &http.Transport{DialContext: answers(false, "HTTP/1.1 500 "+evil+"\r\n\r\n"), DisableKeepAlives: true}},
			"command": &Command{Program: "/bin/sh", Args: []string{"-c", "printf '" + evil + "'; exit 1"}},
		}
		for name, s := range senders {
			if err := s.Send(t.Context(), message()); err == nil || !isPrintable(err.Error()) || !strings.Contains(err.Error(), "no") {
				t.Errorf("%s: got %q", name, fmt.Sprint(err))
			}
		}
		var failed []error
		custom := SenderFunc(func(context.Context, Message) error { return errors.New(evil) })
		during(Config{Senders: []Sender{custom}, OnError: func(err error) { failed = append(failed, err) }}, func(n *Notifier) {
			n.Add(down("a"))
			time.Sleep(time.Minute)
		})
		if len(failed) == 0 || !isPrintable(failed[0].Error()) {
			t.Errorf("a sender of one's own: got %q", failed)
		}
	})
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func TestSendersThatFail(t *testing.T) {
	tests := []struct {
		name   string
		sender *recorder
		sent   int
		errors []string
	}{
		{"once", &recorder{fails: 1}, 1, []string{"0s alert: attempt 1 of 3: golb: web: a is down: mail server is down"}},
		{"always", &recorder{fails: -1}, 0, []string{
			"0s alert: attempt 1 of 3: golb: web: a is down: mail server is down",
			"30s alert: attempt 2 of 3: golb: web: a is down: mail server is down",
			"2m30s alert: attempt 3 of 3: golb: web: a is down: mail server is down",
		}},
		{"for some", &recorder{fails: -1, err: &PartlySent{errors.New("b is unknown")}}, 0, []string{
			"0s alert: attempt 1 of 3: golb: web: a is down: sent, but not to all: b is unknown",
		}},
		{"hangs", &recorder{took: time.Hour}, 0, []string{
			"30s alert: attempt 1 of 3: golb: web: a is down: not sent in time",
			"1m30s alert: attempt 2 of 3: golb: web: a is down: not sent in time",
			"4m0s alert: attempt 3 of 3: golb: web: a is down: not sent in time",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failed []string
				start := time.Now().Add(2 * time.Second) // gathered until then
				other := &recorder{start: start}
				during(Config{
					Senders: []Sender{tt.sender, other},
					OnError: func(err error) { failed = append(failed, fmt.Sprintf("%v %v", time.Since(start), err)) },
				}, func(n *Notifier) {
					n.Add(down("a"))
					time.Sleep(time.Hour)
				})
				if diff := cmp.Diff(tt.errors, failed); diff != "" {
					t.Error(diff)
				}
				if len(tt.sender.sent) != tt.sent || len(other.sent) != 1 || !strings.HasPrefix(other.sent[0], "0s ") {
					t.Errorf("sent %v; by the other sender %v", tt.sender.sent, other.sent)
				}
			})
		})
	}
}

func TestTheEndIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Senders: []Sender{&recorder{took: time.Hour}, SenderFunc(func(context.Context, Message) error { panic("oops") })}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.Run(ctx) }()
		n.Add(down("a"))
		time.Sleep(10 * time.Second)
		n.Add(down("b"))
		start := time.Now()
		cancel()
		<-ended
		if took := time.Since(start); took > 2*lastTime {
			t.Errorf("ended after %v", took)
		}
	})
}
