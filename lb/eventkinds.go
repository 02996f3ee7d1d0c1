package lb

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/golb/golb/health/alert"
)

// eventTexts are how a kind of event is told: message and level in the log, the rest in
// alerts.
type eventTexts struct {
	message string
	level   slog.Level
	topic   string // events of one topic about the same thing are held back together; "" sends no alerts
	thing   string // what it is about, where the event does not say
	state   string // of that; "" means that Reason says it
	normal  bool   // that is how it should be: a recovery
	limited bool   // packets can cause it: its log lines are limited
	urgency int    // subjects begin with the most urgent
}

// The urgencies of events.
const (
	urgencyInfo = iota
	urgencyWarning
	urgencyServer  // a part is lost
	urgencyService // the whole is lost
)

// eventKinds are all kinds of events.
var eventKinds = map[EventKind]eventTexts{
	EventReady:         {message: "forwarding"},
	EventServerJoined:  {message: "server joins"},
	EventServerUp:      {message: "server is up", topic: "state", state: "up", normal: true},
	EventServerDown:    {message: "server is down", level: slog.LevelWarn, topic: "state", state: "down", urgency: urgencyServer},
	EventServerSuspect: {message: "connections to a server fail", level: slog.LevelWarn, topic: "suspect", state: "suspect", urgency: urgencyWarning},
	EventServiceUp:     {message: "service is up", topic: "state", state: "up", normal: true, urgency: urgencyWarning},
	EventServiceDown:   {message: "service is down", level: slog.LevelError, topic: "state", state: "down", urgency: urgencyService},
	EventDrained:       {message: "server is drained", topic: "drained", state: "drained"},
	EventVIPConflict:   {message: "another host claims a VIP", level: slog.LevelError, topic: "conflict", thing: "a VIP", state: "claimed by another host", urgency: urgencyServer, limited: true},
	EventConflictEnded: {message: "another host claims a VIP no longer", topic: "conflict", thing: "a VIP", state: "no longer claimed by that host", normal: true, limited: true},
	EventTableFull:     {message: "connection table is full", level: slog.LevelWarn, topic: "table", thing: "the connection table", state: "full", urgency: urgencyServer},
	EventTableRoom:     {message: "connection table has room again", topic: "table", thing: "the connection table", state: "no longer full", normal: true, urgency: urgencyWarning},
	EventNeighbor:      {message: "next hop changed", limited: true},
	EventInterfaceUp:   {message: "interface is up", topic: "state", state: "up", normal: true, urgency: urgencyWarning},
	EventInterfaceDown: {message: "interface is not up", level: slog.LevelWarn, topic: "state", state: "not up", urgency: urgencyServer},
	EventInterface:     {message: "interface changed"},
	EventRole:          {message: "role changed", topic: "role", urgency: urgencyWarning},

	EventNeighborConflict: {
		message: "two hosts have the address of a next hop", level: slog.LevelWarn, topic: "neighbor conflict",
		thing: "a next hop", state: "claimed by another host", urgency: urgencyWarning, limited: true,
	},

	EventLocalTrouble:      {message: "checks cannot be made on this host", level: slog.LevelError, topic: "local", thing: "this host", state: "cannot make checks", urgency: urgencyServer},
	EventLocalTroubleEnded: {message: "checks can be made again", topic: "local", thing: "this host", state: "makes checks", normal: true},
}

// EventKinds returns all kinds of events, sorted.
func EventKinds() []EventKind { return slices.Sorted(maps.Keys(eventKinds)) }

// alert returns the event as alerts have it; ok is false for kinds that alerts leave out.
func (e *Event) alert() (a alert.Event, ok bool) {
	k := eventKinds[e.Kind]
	if k.topic == "" {
		return a, false
	}
	a = alert.Event{
		Service: cmp.Or(e.Service, "golb"), Server: e.thing(&k), State: k.state, Reason: e.Reason,
		Since: e.Since, At: e.Time, Action: e.Action, Urgency: k.urgency, Normal: k.normal,
	}
	if k.state == "" {
		a.State, a.Reason = e.Reason, ""
		a.Key = e.Reason // each state is news
	}
	a.Key += "\x00" + k.topic + "\x00" + e.Service + "\x00" + a.Server
	a.Summary = e.summary(a.Server, a.State)
	return a, true
}

// thing is what an event is about, inside its service where it has one.
func (e *Event) thing(k *eventTexts) string {
	switch {
	case e.Server != "":
		return e.Server
	case e.Service != "":
		return "the service"
	case e.Group != "":
		return "group " + e.Group
	case e.Interface != "":
		return "interface " + e.Interface
	case e.VIP.IsValid():
		return "VIP " + e.VIP.String()
	}
	return k.thing
}

// summary says an event in a subject.
func (e *Event) summary(thing, state string) string {
	switch e.Kind {
	case EventServerDown:
		return fmt.Sprintf("server %s of %s is down, %d of %d left", thing, e.Service, e.Up, e.Servers)
	case EventServerUp:
		return fmt.Sprintf("server %s of %s is up, %d of %d", thing, e.Service, e.Up, e.Servers)
	case EventServiceDown:
		return fmt.Sprintf("%s DOWN: %d of %d servers up", e.Service, e.Up, e.Servers)
	case EventServiceUp:
		return fmt.Sprintf("%s is up again: %d of %d servers up", e.Service, e.Up, e.Servers)
	}
	switch {
	case e.Server != "":
		return fmt.Sprintf("server %s of %s is %s", thing, e.Service, state)
	case e.Service != "":
		return fmt.Sprintf("%s is %s", e.Service, state)
	}
	return thing + " is " + state
}
