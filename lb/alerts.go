package lb

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/health/alert"
)

// Alerts are the recipients of messages about servers, services and VIPs: what happened,
// since when, why, and what golb did about it. Events of the same time become one message;
// flapping is suppressed (package health/alert). The zero value sends none. Go code gets
// each event by Env.OnEvent, and the messages by Env.OnAlert.
type Alerts struct {
	Mail     []MailAlert    `yaml:"mail"`
	Webhooks []WebhookAlert `yaml:"webhooks"`
	Commands []CommandAlert `yaml:"commands"`

	Name   string        `yaml:"name"`   // begins each subject; "" means golb on the host's name
	Gather time.Duration `yaml:"gather"` // for how long events are gathered into one message; 0 means 2 s
	// Hold is for how long golb sends no further message about the same server, service or
	// VIP; its events meanwhile are sent at the end, as one. 0 means 5 min.
	Hold time.Duration `yaml:"hold"`
}

// MailAlert sends messages by SMTP.
type MailAlert struct {
	To       []string `yaml:"to" also:"emailalert"`
	From     string   `yaml:"from" also:"emailalertfrom"` // "" means golb at the host's name
	Server   string   `yaml:"server" also:"smtp"`         // host or host:port; "" means localhost. The port is 25 where not given
	TLS      string   `yaml:"tls"`                        // start: STARTTLS, or the message is not sent; yes: TLS from the first byte; no: never; "" means STARTTLS where offered
	CA       string   `yaml:"ca"`                         // file of PEM certificates that may sign the server's; "" means the system's
	Login    string   `yaml:"login"`                      // "" does not log in
	Password string   `yaml:"password"`                   // sent only over TLS, or to this host
}

// WebhookAlert posts messages as JSON: subject, text, and each event.
type WebhookAlert struct {
	URL    string            `yaml:"url"`
	Header map[string]string `yaml:"header"` // further headers of the request, as Authorization
}

// CommandAlert runs a program for each message: its subject is the last argument, its
// text the standard input, the message as JSON the variable GOLB_ALERT.
type CommandAlert struct {
	Command string   `yaml:"command"`
	Args    []string `yaml:"args"`
}

// given reports whether the config has alerts here, if only empty lists.
func (a *Alerts) given() bool { return !reflect.ValueOf(*a).IsZero() }

func (v *validator) alerts(path string, a *Alerts) {
	for i := range a.Mail {
		v.mail(fmt.Sprintf("%s.mail[%d]", path, i), &a.Mail[i])
	}
	for i, w := range a.Webhooks {
		at := fmt.Sprintf("%s.webhooks[%d]", path, i)
		if u, err := url.Parse(w.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			v.fail(at+".url", orNothing(w.URL), "not an address to post to", "an absolute http or https URL")
		}
		for name, value := range w.Header {
			if strings.ContainsAny(name+value, "\r\n\x00") || strings.ContainsAny(name, " :") || name == "" {
				v.fail(at+".header."+name, nil, "not a header", "name: value, of one line")
			}
		}
	}
	for i, c := range a.Commands {
		if c.Command == "" {
			v.fail(fmt.Sprintf("%s.commands[%d].command", path, i), nil, "no program", "one to run")
		}
	}
	v.duration(path, "gather", a.Gather, minCheckDuration)
	v.duration(path, "hold", a.Hold, minCheckDuration)
}

func (v *validator) mail(path string, m *MailAlert) {
	if len(m.To) == 0 {
		v.fail(path+".to", nil, "no recipient", "at least one address")
	}
	for i, to := range append([]string{m.From}, m.To...) {
		at := fmt.Sprintf("%s.to[%d]", path, i-1)
		if i == 0 {
			at = path + ".from"
		}
		if (i > 0 || to != "") && (!strings.Contains(to, "@") || strings.ContainsAny(to, "<>,\r\n ")) {
			v.fail(at, to, "not a mail address", "name@domain")
		}
	}
	if host, port, err := net.SplitHostPort(m.server()); err != nil || host == "" || port == "" {
		v.fail(path+".server", m.Server, "not a server", "host or host:port")
	}
	allowed := []string{string(alert.Required), string(alert.Implicit), string(alert.Plain)}
	if m.TLS != "" && !slices.Contains(allowed, m.TLS) {
		v.fail(path+".tls", m.TLS, "unknown word", strings.Join(allowed, ", "))
	}
	if _, err := m.tls(); err != nil {
		v.fail(path+".ca", m.CA, err.Error(), "a PEM file")
	}
	if m.Password != "" && m.Login == "" {
		v.fail(path+".login", nil, "password is given without it", "the name to log in with")
	}
}

// server is host and port of the mail server.
func (m *MailAlert) server() string {
	s := cmp.Or(m.Server, "localhost")
	if _, _, err := net.SplitHostPort(s); err != nil && !strings.HasSuffix(s, ":") {
		return net.JoinHostPort(strings.Trim(s, "[]"), "25")
	}
	return s
}

// tls returns the TLS config that verifies the server's certificate; nil is the default.
func (m *MailAlert) tls() (*tls.Config, error) {
	if m.CA == "" {
		return nil, nil
	}
	roots, err := health.ReadRoots(m.CA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots}, nil
}

// senders returns the senders of all recipients.
func (a *Alerts) senders() (list []alert.Sender) {
	host := hostname()
	for _, m := range a.Mail {
		verify, err := m.tls()
		if err != nil { // the file is gone since the config was read: nobody is trusted
			verify = &tls.Config{RootCAs: x509.NewCertPool()}
		}
		list = append(list, &alert.Mail{
			Server: m.server(), Security: alert.Security(m.TLS), TLS: verify, Login: m.Login, Password: m.Password,
			From: cmp.Or(m.From, "golb@"+host), To: m.To, Hello: host,
		})
	}
	for _, w := range a.Webhooks {
		header := http.Header{}
		for name, value := range w.Header {
			header.Set(name, value)
		}
		list = append(list, &alert.Webhook{URL: w.URL, Header: header})
	}
	for _, c := range a.Commands {
		list = append(list, &alert.Command{Program: c.Command, Args: c.Args})
	}
	return list
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
