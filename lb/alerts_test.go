package lb_test

import (
	"context"
	"encoding/json"
	"errors"

	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/health/alert"
	"github.com/golb/golb/lb"
)

// mailbox keeps messages.
type mailbox struct {
	mu   sync.Mutex
	fail int // so many attempts
	got  []alert.Message
}

func (m *mailbox) take(_ context.Context, msg alert.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail > 0 {
		m.fail--
		return errors.New("not now")
	}
	m.got = append(m.got, msg)
	return nil
}

// texts empties the box.
func (m *mailbox) texts() (list []string) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.got {
		list = append(list, msg.Subject+"\n"+msg.Text)
	}
	m.got = nil
	return list
}

func TestAlertsSayWhatSinceWhenWhyAndWhatGolbDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, box := &answers{}, &mailbox{fail: 1}
		web, mute := asking(vip4, 2), asking(netip.MustParseAddr("192.0.2.81"), 1)
		web.Name = "web"
		mute.Alerts.Mail = []lb.MailAlert{} // nobody
		cfg := lb.Config{Services: []lb.Service{web, mute}, Alerts: lb.Alerts{Name: "lb1", Gather: time.Second, Hold: 10 * time.Minute}}
		b := startIn(t, cfg, func(lb.Event) {}, func(env *lb.Env) { env.Checks, env.OnAlert = a.registry(), box.take })
		time.Sleep(10*time.Second + time.Millisecond)
		a.set(server4(1), "connection refused")
		time.Sleep(40 * time.Second) // the first attempt to send fails, the next is 30 s later
		got := box.texts()
		if len(got) != 1 || !strings.HasPrefix(got[0], "lb1: server 10.0.0.1:80 of web is down, 1 of 2 left\nweb: 10.0.0.1:80 is down since ") ||
			!strings.HasSuffix(got[0], ": connection refused; it gets no new connections; 1 of 2 servers up\n") {
			t.Errorf("one server down: %q", got)
		}

		// The first recovery is told at once. Flapping is kept quiet, and told as one; a reload
		// does not forget that.
		for n := range 10 {
			a.set(server4(1), "")
			time.Sleep(time.Second)
			a.set(server4(1), "flapping")
			time.Sleep(2 * time.Second)
			if n == 5 {
				must(t, b.apply(cfg))
			}
		}
		time.Sleep(10 * time.Minute)
		if got := box.texts(); len(got) != 2 || !strings.HasPrefix(got[0], "lb1: server 10.0.0.1:80 of web is up, 2 of 2\n") ||
			!strings.Contains(got[1], "web: 10.0.0.1:80 is down after 19 changes since ") {
			t.Errorf("flapping: %q", got)
		}

		// What happens at once is one message.
		time.Sleep(11 * time.Minute)
		a.set(server4(2), "cable pulled")
		time.Sleep(5 * time.Second)
		got = box.texts()
		if len(got) != 1 || !strings.HasPrefix(got[0], "lb1: web DOWN: 0 of 2 servers up\n") || !strings.Contains(got[0], "cable pulled") ||
			!strings.Contains(got[0], "web: the service is down since 2000-") ||
			!strings.Contains(got[0], ": servers of weight 0 of 2 are up, quorum 1; no fallback: new connections go to the servers that are left, if any") {
			t.Errorf("the last server down: %q", got)
		}
	})
}

func TestAlertsOfAServiceReplaceTheGlobalOnes(t *testing.T) {
	posted := make(chan alert.Message, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m alert.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("X-Token") != "abc" {
			t.Errorf("posted %v, header %v", err, r.Header)
		}
		posted <- m
	}))
	defer server.Close()
	out := filepath.Join(t.TempDir(), "out")
	first, second := asking(vip4, 1), asking(netip.MustParseAddr("192.0.2.81"), 1)
	first.Name, second.Name = "first", "second"
	for _, s := range []*lb.Service{&first, &second} {
		s.Check = lb.Check{Type: "ask", Interval: 10 * time.Millisecond, Fall: 1}
	}
	second.Servers[0].Address = server4(2)
	second.Alerts = lb.Alerts{Gather: 10 * time.Millisecond, Commands: []lb.CommandAlert{{Command: "/bin/sh", Args: []string{"-c", `(echo "$0"; cat) >` + out + `.new; mv ` + out + `.new ` + out}}}}
	a := &answers{}
	cfg := lb.Config{Services: []lb.Service{first, second}, Alerts: lb.Alerts{Gather: 10 * time.Millisecond,
		Webhooks: []lb.WebhookAlert{{URL: server.URL + "/x", Header: map[string]string{"X-Token": "abc"}}}}}
	startIn(t, cfg, func(lb.Event) {}, func(env *lb.Env) { env.Checks = a.registry() })
	a.set(server4(1), "first is broken")
	if m := <-posted; len(m.Events) == 0 || m.Events[0].Service != "first" || m.Events[0].Reason != "first is broken" {
		t.Errorf("posted %+v", m)
	}
	a.set(server4(2), "second is broken")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(out)
		if err == nil && strings.Contains(string(text), "second: 10.0.0.2:80 is down") && strings.Contains(string(text), "second is broken") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the command got %q, %v", text, err)
		}
	}
	select {
	case m := <-posted:
		for _, e := range m.Events {
			if e.Service != "first" {
				t.Errorf("posted, though the service has alerts of its own: %+v", e)
			}
		}
	default:
	}
}

// TestAlertsOfAServiceInheritWhatTheyDoNotSay: the service's mail goes to its own recipients,
// from the sender and by the server of the config's.
func TestAlertsOfAServiceInheritWhatTheyDoNotSay(t *testing.T) {
	global := lb.Alerts{Name: "lb1", Hold: time.Minute, Mail: []lb.MailAlert{{To: []string{"all@example.org"}, From: "golb@example.org",
		Server: "mail.example.org", TLS: "start", Login: "golb", Password: "secret"}}}
	tests := []struct {
		name      string
		own       lb.Alerts
		from, via string // of the mail that is sent; "" is none
		to        string
	}{
		{"recipients", lb.Alerts{Mail: []lb.MailAlert{{To: []string{"web@example.org"}}}}, "golb@example.org", "mail.example.org:25", "web@example.org"},
		{"a server of its own", lb.Alerts{Mail: []lb.MailAlert{{To: []string{"web@example.org"}, Server: "mx.example.org:587"}}}, "golb@example.org", "mx.example.org:587", "web@example.org"},
		{"a sender of its own", lb.Alerts{Mail: []lb.MailAlert{{To: []string{"web@example.org"}, From: "web@example.org"}}}, "web@example.org", "mail.example.org:25", "web@example.org"},
		{"a hold of its own", lb.Alerts{Hold: time.Hour}, "golb@example.org", "mail.example.org:25", "all@example.org"},
		{"nobody", lb.Alerts{Mail: []lb.MailAlert{}}, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			web := asking(vip4, 1)
			web.Alerts = tt.own
			cfg := lb.Config{Alerts: global, Services: []lb.Service{web}}
			list := cfg.AlertRecipients()[1:] // without the config's own
			if tt.via == "" {
				if len(list) != 0 {
					t.Errorf("got %+v, want none", list)
				}
				return
			}
			if len(list) != 1 {
				t.Fatalf("got %+v, want one", list)
			}
			m := list[0].Sender.(*alert.Mail)
			if m.From != tt.from || m.Server != tt.via || strings.Join(m.To, " ") != tt.to || list[0].Prefix != "lb1" {
				t.Errorf("got from %s by %s to %v, prefix %q", m.From, m.Server, m.To, list[0].Prefix)
			}
		})
	}
}

func TestMistakesInAlerts(t *testing.T) {
	cfg := lb.Config{Interfaces: []string{"eth0"}, Alerts: lb.Alerts{
		Hold: time.Nanosecond,
		Mail: []lb.MailAlert{
			{Server: "mail.example.org:", From: "me", TLS: "maybe", Password: "x"},
			{To: []string{"a@example.org", "b@example.org, c@example.org"}, Server: "::1"},
			{To: []string{"a@example.org"}, Login: "me", Password: "x"},
			{To: []string{"a@example.org"}, TLS: "yes"},
		},
		Webhooks: []lb.WebhookAlert{{URL: "example.org/x", Header: map[string]string{"A: b": "c"}}},
		Commands: []lb.CommandAlert{{}},
	}}
	want := []string{
		`alerts.mail[0].to: no recipient; allowed: at least one address`,
		`alerts.mail[0].from: "me": not a mail address; allowed: name@domain`,
		`alerts.mail[0].server: "mail.example.org:": not a server; allowed: host or host:port`,
		`alerts.mail[0].tls: "maybe": unknown word; allowed: start, yes, no`,
		`alerts.mail[0].login: password is given without it; allowed: the name to log in with`,
		`alerts.mail[1].to[1]: "b@example.org, c@example.org": not a mail address; allowed: name@domain`,
		`alerts.mail[2].server: missing, where login or tls: yes need it; allowed: host or host:port`,
		`alerts.mail[3].server: missing, where login or tls: yes need it; allowed: host or host:port`,
		`alerts.webhooks[0].url: "example.org/x": not an address to post to; allowed: an absolute http or https URL`,
		`alerts.webhooks[0].header.A: b: not a header; allowed: name: value, of one line`,
		`alerts.commands[0].command: no program; allowed: one to run`,
		`alerts.hold: "1ns": out of range; allowed: 10ms to 24h`,
	}
	err := cfg.Validate(lb.Env{})
	if err == nil {
		t.Fatal("no mistakes")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}
