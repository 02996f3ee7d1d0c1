package vrrp

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Host is the program around instances. Its methods are called by those of an Instance
// or Router, in the order in which things are to be done, and must not call back.
type Host interface {
	// Send puts an IP packet with its header on the wire, to dst. The packet is the
	// instance's again when Send returns.
	Send(in *Instance, dst netip.Addr, packet []byte)
	// Become says that the instance has another state now. A master is to answer for
	// the addresses and to forward for them, the other states are not.
	Become(in *Instance, s State, why Cause)
	// Announce sends one gratuitous ARP or unsolicited neighbor advertisement for an
	// address: one of the virtual router, or that of a unicast instance itself.
	Announce(in *Instance, addr netip.Addr)
	// Report tells what an operator may want to know.
	Report(in *Instance, e Event)
}

// Instance is one virtual router on one interface: RFC 9568 §6. It has no socket, clock
// or goroutine, and is for one goroutine at a time.
//
// All its methods take the present time. It is for timers, so it must not follow steps
// of the wall clock, and should go on while the machine sleeps; time.Now's does the
// first. The host calls [Instance.Receive] for what arrives and [Instance.Tick] at
// [Instance.Deadline]. Where both are due it gives Receive all that has arrived first,
// so that a process that was held up does not take a master for dead whose adverts wait
// in a socket.
type Instance struct {
	cfg   Config // with its defaults
	host  Host
	group *group // nil outside of a sync group

	now            time.Time // the latest that was given
	state          State
	since          time.Time
	fault          bool // of the instance itself
	base, priority uint8

	timer          time.Time     // Backup: when the master is down. Master: the next advert. Zero: never
	masterInterval time.Duration // of the master's adverts
	master         masterAdvert
	cause          Cause     // why it is going to be master at timer
	preemptAt      time.Time // end of the preempt delay; zero while it does not run
	lookingSince   time.Time // Backup: when a pause ended, while nothing was heard since
	wants          bool      // Backup: would be master, the sync group would not
	released       bool      // Backup: by Release, so it leaves the role to any master

	sent     time.Time // the last advert, or becoming master
	answered time.Time // the last advert of lower priority with an answer
	owners   owners

	ipID      uint16
	checksum  Checksum                // to multicast and peers not in checksums
	checksums map[netip.Addr]Checksum // by peer
	hmac      hmacState
	ah        ahState
	announcer announcer
	buf       []byte
	stats     Stats
	told      map[told]bool
}

// masterAdvert is the last advert that counted.
type masterAdvert struct {
	addr     netip.Addr
	priority uint8
	at       time.Time
	followed bool // its priority was not below ours
}

// New returns an instance that is not started. The error is that of [Config.Validate].
func New(cfg Config, host Host) (*Instance, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	in := &Instance{
		cfg: cfg, host: host, base: cfg.Priority, priority: cfg.Priority, masterInterval: cfg.Interval,
		checksum: cfg.Checksum, checksums: map[netip.Addr]Checksum{}, told: map[told]bool{},
		stats: Stats{Dropped: map[Reason]uint64{}},
	}
	in.announcer.configure(&cfg)
	if in.checksum == ChecksumUnknown {
		in.checksum = ChecksumPseudo
	}
	return in, nil
}

// Start begins the protocol, as backup or, where SetFault was called, in fault.
func (in *Instance) Start(now time.Time) {
	in.start(in.clock(now))
	in.Tick(now)
}

func (in *Instance) start(now time.Time) {
	if in.state != StateInitialize {
		return
	}
	if in.faulty() {
		in.become(now, StateFault, CauseStart)
		return
	}
	in.enterBackup(now, CauseStart)
}

// Shutdown ends the protocol. A master says so by priority 0, and a backup takes over
// after its skew time. The instance can be started again.
func (in *Instance) Shutdown(now time.Time) {
	now = in.clock(now)
	if in.state == StateInitialize {
		return
	}
	if in.state == StateMaster {
		in.send(now, 0)
	}
	in.become(now, StateInitialize, CauseShutdown)
}

// SetFault says whether something is wrong with what the instance needs: its interface,
// or what the host tracks. A master in fault gives up its role, and an instance or, in a
// sync group, all of them stay out until no fault is left.
func (in *Instance) SetFault(now time.Time, fault bool) {
	now = in.clock(now)
	in.fault = fault
	for _, m := range in.members() {
		switch {
		case m.state == StateInitialize:
		case m.faulty() && m.state != StateFault:
			m.enterFault(now, causeIn(m, in, CauseFault))
		case !m.faulty() && m.state == StateFault:
			m.leaveFault(now, causeIn(m, in, CauseRepaired))
		}
	}
}

// causeIn is cause for the instance that it is about, and CauseGroup for others.
func causeIn(m, about *Instance, cause Cause) Cause {
	if m != about {
		return CauseGroup
	}
	return cause
}

// SetPriority changes the priority, which tracking lowers and raises. Values outside of
// 1 to 254 become the nearest of them; the address owner's priority is never changed.
// A master tells the others at once.
func (in *Instance) SetPriority(now time.Time, priority int) {
	now = in.clock(now)
	p := uint8(min(max(priority, 1), OwnerPriority-1))
	if in.base == OwnerPriority || p == in.priority {
		return
	}
	in.priority = p
	if in.state == StateMaster && !in.cfg.Keepalived.LatePriority {
		in.advertise(now)
	}
}

// Reconfigure changes the configuration and keeps the role; a master tells the others at
// once, and announces the addresses if they are others than before. The priority is the configured one again. Name,
// Interface, VRID, Version, Source and Group must stay as they are.
func (in *Instance) Reconfigure(now time.Time, cfg Config) error {
	now = in.clock(now)
	if err := cfg.Validate(); err != nil {
		return err
	}
	v := validator{name: in.Name()}
	cfg = cfg.withDefaults()
	for _, f := range []struct {
		name     string
		old, new any
	}{
		{"Name", in.cfg.Name, cfg.Name},
		{"Interface", in.cfg.Interface, cfg.Interface},
		{"VRID", in.cfg.VRID, cfg.VRID},
		{"Version", in.cfg.Version, cfg.Version},
		{"Source", in.cfg.Source, cfg.Source},
		{"Group", in.cfg.Group, cfg.Group},
	} {
		if f.old != f.new {
			v.bad(f.name, f.new, "cannot be changed, is %v", f.old)
		}
	}
	if len(v.errs) > 0 {
		return v.errs[0]
	}
	moved := !slices.Equal(cfg.Addresses, in.cfg.Addresses) || !slices.Equal(cfg.Excluded, in.cfg.Excluded)
	in.cfg, in.base, in.priority = cfg, cfg.Priority, cfg.Priority
	in.announcer.configure(&cfg)
	clear(in.told)
	if cfg.Checksum != ChecksumUnknown {
		in.checksum = cfg.Checksum
		clear(in.checksums)
	}
	if in.state == StateMaster || cfg.Version == 2 {
		in.masterInterval = cfg.Interval
	}
	if in.state == StateMaster {
		in.advertise(now)
		if moved {
			in.announceTakeover(now)
		}
	}
	return nil
}

// TakeOver makes a backup, and with it its sync group, master at once, whatever the others say. One of higher
// priority that preempts takes the role back.
func (in *Instance) TakeOver(now time.Time) {
	now = in.clock(now)
	if in.state != StateBackup {
		return
	}
	for _, m := range in.members() {
		m.wants = m.state == StateBackup
	}
	in.takeOver(now, CauseOrder)
}

// Release makes a master backup, and with it its sync group, and says so by priority 0.
// It stays backup as long as
// there is another master, of whatever priority.
func (in *Instance) Release(now time.Time) {
	now = in.clock(now)
	if in.state != StateMaster {
		return
	}
	for _, m := range in.members() {
		if m.state == StateMaster {
			m.send(now, 0)
			m.enterBackup(now, causeIn(m, in, CauseOrder))
			m.released = true
		}
	}
}

// Tick does what is due. It is to be called at Deadline; to call it at other times does
// no harm.
func (in *Instance) Tick(now time.Time) {
	now = in.clock(now)
	in.noticePause(now)
	if in.due(now) {
		if in.state == StateMaster {
			in.announceRefresh(now)
			in.advertise(now)
		} else {
			in.takeOver(now, in.cause)
		}
	}
	in.announceDue(now)
}

func (in *Instance) due(now time.Time) bool { return !in.timer.IsZero() && !in.timer.After(now) }

// Deadline returns when Tick is to be called; the zero time is never. Every other method
// may change it.
func (in *Instance) Deadline() time.Time { return earliest(in.timer, in.announcer.deadline()) }

// earliest returns the earlier time; the zero time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Name returns what the instance is called in errors.
func (in *Instance) Name() string { return in.cfg.name() }

// Config returns the configuration with its defaults.
func (in *Instance) Config() Config { return in.cfg }

// State returns the present state.
func (in *Instance) State() State { return in.state }

// VirtualMAC returns the MAC that RFC 9568 §7.3 gives to the virtual router.
func (in *Instance) VirtualMAC() [6]byte { return VirtualMAC(in.cfg.VRID, in.cfg.Source.Is6()) }

// Stats returns the counters.
func (in *Instance) Stats() Stats {
	s := in.stats
	s.Dropped = maps.Clone(s.Dropped)
	return s
}

// Status returns what the instance is and knows.
func (in *Instance) Status() Status {
	return Status{
		State: in.state, Since: in.since, Priority: in.priority,
		Master: in.master.addr, MasterPriority: in.master.priority, MasterHeard: in.master.at,
		MasterInterval: in.masterInterval, Checksum: in.checksum,
		Faulty: in.fault, Wants: in.wants,
	}
}

// clock keeps time from going back.
func (in *Instance) clock(now time.Time) time.Time {
	if now.After(in.now) {
		in.now = now
	}
	return in.now
}

// members are the instances of the sync group; outside of one, the instance itself.
func (in *Instance) members() []*Instance {
	if in.group == nil {
		return []*Instance{in}
	}
	return in.group.members
}

// faulty reports whether the instance or one of its sync group is in fault.
func (in *Instance) faulty() bool {
	for _, m := range in.members() {
		if m.fault {
			return true
		}
	}
	return false
}
