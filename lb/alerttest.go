package lb

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/golb/golb/health/alert"
)

// AlertRecipient is one who gets the messages of a Config's alerts.
type AlertRecipient struct {
	Name    string // an address, a URL or a program
	Service string // whose alerts it is named in; "" are the Config's own
	Prefix  string // begins each subject
	Sender  alert.Sender
}

// AlertRecipients returns the recipients of the Config's alerts, then those of each service
// that has alerts of its own. Each address of a mail is one.
func (c *Config) AlertRecipients() (list []AlertRecipient) {
	add := func(service string, a Alerts) {
		for _, s := range a.senders() {
			r := AlertRecipient{Service: service, Prefix: a.name(), Sender: s}
			switch s := s.(type) {
			case *alert.Mail:
				for _, to := range s.To {
					one := *s
					one.To = []string{to}
					r.Name, r.Sender = to, &one
					list = append(list, r)
				}
				continue
			case *alert.Webhook:
				r.Name = s.URL
			case *alert.Command:
				r.Name = s.Program
			}
			list = append(list, r)
		}
	}
	add("", c.Alerts)
	for i := range c.Services {
		if s := &c.Services[i]; s.Alerts.given() {
			add(s.name(), c.alertsOf(s))
		}
	}
	return list
}

// Test sends a message of each kind, made up, whose subjects say that they are a test. It
// returns how many were sent, and stops at the first error.
func (r *AlertRecipient) Test(ctx context.Context) (sent int, err error) {
	for _, e := range sampleEvents(time.Now(), cmp.Or(r.Service, "test")) {
		a, ok := e.alert()
		if !ok {
			continue
		}
		if err := r.Sender.Send(ctx, alert.Compose(r.Prefix+": test", a)); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// sampleEvents are an event of each kind, about a service of two servers.
func sampleEvents(now time.Time, service string) (list []Event) {
	for _, kind := range EventKinds() {
		e := Event{Kind: kind, Time: now, Since: now.Add(-3 * time.Second), Reason: "this is a test", Action: "nothing is done"}
		switch kind {
		case EventServerUp, EventServerDown, EventServerSuspect, EventDrained:
			e.Service, e.Server, e.Up, e.Servers = service, "test server", 1, 2
		case EventServiceUp, EventServiceDown:
			e.Service, e.Servers = service, 2
		case EventVIPConflict, EventConflictEnded:
			e.VIP = netip.AddrFrom4([4]byte{192, 0, 2, 1})
		case EventInterfaceUp, EventInterfaceDown, EventInterface:
			e.Interface = "eth0"
		case EventRole:
			e.Group, e.Reason = DefaultGroup, string(RoleActive)
		}
		list = append(list, e)
	}
	return list
}
