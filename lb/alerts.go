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
	// VIP, but for its first recovery; its events meanwhile are sent at the end, as one. 0
	// means 5 min.
	Hold time.Duration `yaml:"hold"`
}

// MailAlert sends messages by SMTP. What a service's mail does not say is as in the first
// mail of the Config.
type MailAlert struct {
	To       []string `yaml:"to" also:"emailalert"`
	From     string   `yaml:"from" also:"emailalertfrom"` // "" means golb at the host's name
	Server   string   `yaml:"server" also:"smtp"`         // host or host:port, 25 where not given; "" delivers to the mail exchangers (MX) of the recipients' domains
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

// alertsOf returns the alerts of a service: the Config's where it has none of its own. Its
// own go to its own recipients, and what they do not say is the Config's.
func (c *Config) alertsOf(s *Service) Alerts {
	if !s.Alerts.given() {
		return c.Alerts
	}
	a := s.Alerts.clone()
	a.Name, a.Gather, a.Hold = cmp.Or(a.Name, c.Alerts.Name), cmp.Or(a.Gather, c.Alerts.Gather), cmp.Or(a.Hold, c.Alerts.Hold)
	if a.Mail == nil && a.Webhooks == nil && a.Commands == nil {
		a.Mail, a.Webhooks, a.Commands = c.Alerts.Mail, c.Alerts.Webhooks, c.Alerts.Commands
		return a
	}
	if len(c.Alerts.Mail) > 0 {
		for i := range a.Mail {
			a.Mail[i] = a.Mail[i].withDefaults(&c.Alerts.Mail[0])
		}
	}
	return a
}

// withDefaults replaces what a mail does not say by what d does: its sender, and how it is
// sent, for which a server of its own counts as saying all.
func (m MailAlert) withDefaults(d *MailAlert) MailAlert {
	m.From = cmp.Or(m.From, d.From)
	if m.Server != "" {
		return m
	}
	m.Server, m.TLS, m.CA = d.Server, cmp.Or(m.TLS, d.TLS), cmp.Or(m.CA, d.CA)
	if m.Login == "" {
		m.Login, m.Password = d.Login, d.Password
	}
	return m
}

// given reports whether the config has alerts here, if only empty lists.
func (a *Alerts) given() bool { return !reflect.ValueOf(*a).IsZero() }

// alerts checks alerts, of which all is what they are with what they inherit.
func (v *validator) alerts(path string, a *Alerts, all Alerts) {
	for i := range a.Mail {
		v.mail(fmt.Sprintf("%s.mail[%d]", path, i), &a.Mail[i], &all.Mail[i])
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

func (v *validator) mail(path string, m, all *MailAlert) {
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
	if host, port, err := net.SplitHostPort(m.server()); m.Server != "" && (err != nil || host == "" || port == "") {
		v.fail(path+".server", m.Server, "not a server", "host or host:port")
	}
	if all.Server == "" && (all.Login != "" || all.TLS == string(alert.Implicit)) {
		v.fail(path+".server", nil, "missing, where login or tls: yes need it", "host or host:port")
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

// server is host and port of the mail server; "" where there is none.
func (m *MailAlert) server() string {
	s := m.Server
	if s == "" {
		return ""
	}
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

// name begins each subject.
func (a *Alerts) name() string { return cmp.Or(a.Name, "golb on "+hostname()) }

// senders returns the senders of all recipients.
func (a *Alerts) senders() (list []alert.Sender) {
	host := hostname()
	for _, m := range a.Mail {
		verify, err := m.tls()
		if err != nil { // the file is gone since the config was read: nobody is trusted
			verify = &tls.Config{RootCAs: x509.NewCertPool()}
		}
		mail := alert.Mail{
			Server: m.server(), Security: alert.Security(m.TLS), TLS: verify, Login: m.Login, Password: m.Password,
			From: cmp.Or(m.From, "golb@"+host), To: m.To, Hello: host,
		}
		for _, one := range mail.ByDomain() {
			list = append(list, one)
		}
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
