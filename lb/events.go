package lb

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/health/alert"
	"github.com/golb/golb/health/printable"
)

// notifier sends the messages of one Alerts.
type notifier struct {
	*alert.Notifier // nil where there are no recipients
	cfg             Alerts
	stop            context.CancelFunc // sends the events that are left
}

// notifiers are the notifiers of services with their own Alerts, by the service's name, and
// that of all others, by "". The map is replaced, never changed.
type notifiers map[string]*notifier

// followAlertsLocked starts and ends notifiers so that they are those of the config. Those
// that stay keep their state.
func (b *Balancer) followAlertsLocked(n *network) {
	have, next := notifiers{}, notifiers{}
	if old := b.notifiers.Load(); old != nil {
		have = *old
	}
	follow := func(name string, cfg Alerts, more ...alert.Sender) {
		if old := have[name]; old != nil && reflect.DeepEqual(old.cfg, cfg) {
			next[name] = old
			return
		}
		if next[name] == nil {
			next[name] = b.startNotifier(n, cfg, more)
		}
	}
	var senders []alert.Sender
	if b.env.OnAlert != nil {
		senders = append(senders, alert.SenderFunc(b.env.OnAlert))
	}
	follow("", b.cfg.Alerts, senders...)
	for i := range b.cfg.Services {
		if s := &b.cfg.Services[i]; s.Alerts.given() {
			follow(s.name(), b.cfg.alertsOf(s))
		}
	}
	b.notifiers.Store(&next)
	for name, old := range have {
		if next[name] != old {
			old.stop()
		}
	}
}

func (b *Balancer) startNotifier(n *network, cfg Alerts, more []alert.Sender) *notifier {
	senders := append(cfg.senders(), more...)
	if len(senders) == 0 {
		return &notifier{cfg: cfg, stop: func() {}}
	}
	ctx, stop := context.WithCancel(n.ctx)
	x := &notifier{cfg: cfg, stop: stop, Notifier: alert.New(alert.Config{
		Senders: senders, Name: cfg.name(), Gather: cfg.Gather, Hold: cfg.Hold,
		OnError: func(err error) { b.env.Logger.Error("alert not sent", "reason", err.Error()) },
	})}
	n.tasks.Go(func() error { return x.Run(ctx) })
	return x
}

// alert passes an event to the notifier of its service.
func (b *Balancer) alert(e Event) {
	all := b.notifiers.Load()
	about, ok := e.alert()
	if all == nil || !ok {
		return
	}
	x := (*all)[e.Service]
	if x == nil {
		x = (*all)[""]
	}
	if x.Notifier != nil {
		x.Add(about)
	}
}

// noteLocked keeps an event for report to tell. An event of a service gets the numbers of
// its servers.
func (b *Balancer) noteLocked(e Event) { b.noted = append(b.noted, e.counted(b.byName[e.Service])) }

// counted returns the event with the numbers of the service's servers.
func (e Event) counted(v *service) Event {
	if v != nil {
		e.Up, e.Servers = v.upServers(), len(v.servers)
	}
	return e
}

// attrs returns the attributes of an event for the log.
func (e *Event) attrs() (attrs []slog.Attr) {
	vip := ""
	if e.VIP.IsValid() {
		vip = e.VIP.String()
	}
	for _, a := range []struct{ key, value string }{
		{"service", e.Service}, {"server", e.Server}, {"group", e.Group}, {"vip", vip}, {"interface", e.Interface}, {"reason", e.Reason}, {"action", e.Action},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if !e.Since.IsZero() {
		attrs = append(attrs, slog.Time("since", e.Since.Truncate(time.Millisecond)))
	}
	return attrs
}

// tell passes an event to the log, with further attributes, to OnEvent and to alerts. Its
// texts may quote others: they become printable.
func (b *Balancer) tell(e Event, more ...slog.Attr) {
	e.Reason, e.Action = printable.Line(e.Reason, maxEventText), printable.Line(e.Action, maxEventText)
	k := eventKinds[e.Kind]
	if omitted, ok := b.logLimits.take(e.Kind, &k); ok {
		if omitted > 0 {
			more = append(more, slog.Int("omitted", omitted))
		}
		b.env.Logger.LogAttrs(context.Background(), k.level, k.message, append(e.attrs(), more...)...)
	}
	b.events.Lock()
	defer b.events.Unlock()
	e.Time = time.Now()
	b.env.OnEvent(e)
	b.alert(e)
}

// logLimits limit the log lines of events that packets can cause, by kind. OnEvent and
// alerts get all of them.
type logLimits struct {
	mu     sync.Mutex
	byKind map[EventKind]*arp.LogLimit
}

// take reports whether an event is logged, and how many of its kind were not since the
// last one.
func (x *logLimits) take(kind EventKind, k *eventTexts) (omitted int, ok bool) {
	if !k.limited {
		return 0, true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byKind == nil {
		x.byKind = map[EventKind]*arp.LogLimit{}
	}
	if x.byKind[kind] == nil {
		x.byKind[kind] = &arp.LogLimit{}
	}
	return x.byKind[kind].Take(time.Now())
}

// maxEventText bounds each text of an event in bytes.
const maxEventText = 2000

// report tells the events that were noted. b.mu must not be held.
func (b *Balancer) report() {
	b.reports.Lock()
	defer b.reports.Unlock()
	b.mu.Lock()
	events := b.noted
	b.noted = nil
	b.mu.Unlock()
	for _, e := range events {
		b.tell(e)
	}
}
