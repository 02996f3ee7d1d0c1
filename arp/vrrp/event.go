package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// State is the role of an instance: RFC 9568 §6.4.
type State uint8

const (
	StateInitialize State = iota // not started, or shut down
	StateBackup
	StateMaster // Active Router in RFC 9568
	StateFault  // keepalived's: takes no part until the fault is gone
)

func (s State) String() string {
	switch s {
	case StateInitialize:
		return "initialize"
	case StateBackup:
		return "backup"
	case StateMaster:
		return "master"
	case StateFault:
		return "fault"
	}
	return "unknown state"
}

// Cause is why an instance changes its state.
type Cause uint8

const (
	CauseStart    Cause = iota // it was started
	CauseOwner                 // it is the address owner
	CauseSilence               // adverts were missing for the master down time
	CauseResigned              // the master sent priority 0
	CausePreempt               // the master has a lower priority
	CauseHigher                // another master has a higher priority, or an equal one and a higher address
	CauseOrder                 // TakeOver or Release
	CauseFault                 // SetFault
	CauseRepaired              // the fault is gone
	CausePause                 // the process was stopped for so long that another may be master
	CauseGroup                 // another instance of the sync group
	CauseShutdown              // Shutdown
)

func (c Cause) String() string {
	switch c {
	case CauseStart:
		return "started"
	case CauseOwner:
		return "address owner"
	case CauseSilence:
		return "no adverts heard"
	case CauseResigned:
		return "the master gave up its role"
	case CausePreempt:
		return "the master has a lower priority"
	case CauseHigher:
		return "another master comes first"
	case CauseOrder:
		return "by order"
	case CauseFault:
		return "fault"
	case CauseRepaired:
		return "fault repaired"
	case CausePause:
		return "the process was stopped"
	case CauseGroup:
		return "follows its sync group"
	case CauseShutdown:
		return "shut down"
	}
	return "unknown cause"
}

// EventKind says what an event is about.
type EventKind uint8

const (
	EventDropped      EventKind = iota // an advert was not taken: Event.Reason
	EventAddresses                     // an advert has other addresses than the instance
	EventInterval                      // an advert has another interval than the instance
	EventChecksum                      // the kind of checksum to send was changed to the peer's
	EventUnsigned                      // an advert without HMAC trailer was taken
	EventClock                         // the clock of a peer is off by more than half the window
	EventLower                         // a master hears one of lower priority, and answers
	EventSameAddress                   // an advert of equal priority comes from the instance's own address
	EventTwoOwners                     // two routers say that they own the addresses
	EventOwnerLowered                  // the other owner did not give in: the priority is 254 now
	EventPaused                        // the process was stopped
)

// Event is something that an operator may want to know. Each kind, and of EventDropped
// each reason, is reported once until the instance changes its state or has another
// master, EventLower each time.
type Event struct {
	Kind   EventKind
	Reason Reason // of EventDropped
	From   netip.Addr
	Text   string
}

// Stats counts what an instance did since New.
type Stats struct {
	Sent         uint64 // adverts, each once for all peers
	SentZero     uint64 // of these, with priority 0
	Received     uint64 // adverts taken
	ReceivedZero uint64 // of these, with priority 0
	BecameMaster uint64
	LeftMaster   uint64
	Announced    uint64
	Dropped      map[Reason]uint64 // adverts for the VRID that were not taken
}

// Status is an instance at one time.
type Status struct {
	State          State
	Since          time.Time // of the state
	Priority       uint8     // that is sent
	Master         netip.Addr
	MasterPriority uint8         // in the last advert of Master
	MasterHeard    time.Time     // when that was
	MasterInterval time.Duration // as learned from Master
	Checksum       Checksum      // sent to all but peers that use another
	Faulty         bool          // by SetFault, its own fault rather than its group's
	Wants          bool          // would be master, and waits for its sync group
}

type told struct {
	kind   EventKind
	reason Reason
}

// report tells the host of an event, unless it is known.
func (in *Instance) report(kind EventKind, reason Reason, from netip.Addr, format string, args ...any) {
	key := told{kind, reason}
	if in.told[key] {
		return
	}
	if kind != EventLower {
		in.told[key] = true
	}
	in.host.Report(in, Event{Kind: kind, Reason: reason, From: from, Text: fmt.Sprintf(format, args...)})
}
