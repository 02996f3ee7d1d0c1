package lb

import (
	"fmt"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// HostInterface is a network interface of the host as it is now.
type HostInterface struct {
	Index   int // stays when the interface is renamed, and is never used again
	Name    string
	MAC     forward.MAC
	MTU     int  // bytes of IP packet
	Up      bool // administratively
	Carrier bool // it is up and can send
}

// InterfaceMonitor tells of the host's interfaces. One goroutine calls Next; Close may be
// called by another.
type InterfaceMonitor interface {
	// Next returns all interfaces of the host: the first time at once, and later when one has
	// changed. It returns net.ErrClosed after Close, and no other error that lasts.
	Next() ([]HostInterface, error)
	Close() error
}

// InterfaceState is the state of an interface of the config.
type InterfaceState string

// The states of interfaces.
const (
	InterfaceUp        InterfaceState = "up"
	InterfaceNoCarrier InterfaceState = "no carrier" // up, but the link is not
	InterfaceDown      InterfaceState = "down"       // set down
	InterfaceMissing   InterfaceState = "missing"    // the host has none of that name
	InterfaceUnusable  InterfaceState = "unusable"   // it could not be opened: it is no Ethernet interface, or for want of memory
)

// netInterface is an interface of the config: its place in the network, which stays while
// what the host has there changes.
type netInterface struct {
	name   string   // in the config
	names  []string // in configs before
	number int      // index in network.interfaces
	link   *linkSlot
	// slots are where all workers have their ports, by the interface that they receive from,
	// and by worker.
	slots  [][]*portSlot
	failed atomic.Bool // a port or the Link has failed since they were opened

	seen seenInterface // changed under Balancer.changing, with Balancer.mu
}

// seenInterface is what the last look at an interface has found, and what came of it.
type seenInterface struct {
	host           HostInterface // of a missing one, as it was
	found          bool          // the host has it
	opened         bool          // its ports and its Link are open
	err            error         // why it could not be opened
	gsoTCP, gsoUDP bool
}

// defaultMTU is that of an interface which has not been seen yet.
const defaultMTU = 1500

func (s *seenInterface) state() InterfaceState {
	switch {
	case !s.found:
		return InterfaceMissing
	case !s.opened:
		return InterfaceUnusable
	case !s.host.Up:
		return InterfaceDown
	case !s.host.Carrier:
		return InterfaceNoCarrier
	}
	return InterfaceUp
}

// find returns the interface of the host that f stands for: that which it had before, by
// index, or one of its name that no other place has.
func (f *netInterface) find(list []HostInterface, taken map[int]bool) (host HostInterface, ok bool) {
	for _, h := range list {
		if f.seen.found && h.Index == f.seen.host.Index {
			return h, true
		}
		if h.Name == f.name && !taken[h.Index] {
			host, ok = h, true
		}
	}
	return host, ok
}

// event is that of the state.
func (s *seenInterface) event() Event {
	switch state := s.state(); state {
	case InterfaceUp:
		return Event{Kind: EventInterfaceUp}
	case InterfaceUnusable:
		return Event{Kind: EventInterfaceDown, Reason: string(state) + ": " + s.err.Error()}
	default:
		return Event{Kind: EventInterfaceDown, Reason: string(state)}
	}
}

// changes returns an event for each thing that has changed.
func (s *seenInterface) changes(before *seenInterface) (list []Event) {
	if s.event() != before.event() {
		list = append(list, s.event())
	}
	was, now := &before.host, &s.host
	if !s.found || was.Index == 0 {
		return list
	}
	for _, c := range []struct {
		what     string
		was, now any
	}{
		{"index", was.Index, now.Index}, {"name", was.Name, now.Name}, {"MAC", was.MAC, now.MAC}, {"MTU", was.MTU, now.MTU},
	} {
		if c.was != c.now {
			list = append(list, Event{Kind: EventInterface, Reason: fmt.Sprintf("%s %v in place of %v", c.what, c.now, c.was)})
		}
	}
	return list
}

// allSlots yields the slots of all workers.
func (f *netInterface) allSlots(yield func(*portSlot) bool) {
	for _, row := range f.slots {
		for _, s := range row {
			if !yield(s) {
				return
			}
		}
	}
}

// open opens ports and Link.
func (f *netInterface) open(b *Balancer, index int) error {
	for from, slots := range f.slots {
		receives := from == f.number
		ports, err := b.env.OpenPorts(PortConfig{
			Interface: f.name, Index: index, Count: len(slots), SendOnly: !receives, BusyPoll: b.cfg.BusyPoll, MACs: b.cfg.macs(),
		})
		for i, p := range ports {
			if err == nil {
				err = slots[i].put(p, receives)
			} else {
				_ = p.Close()
			}
		}
		if err != nil {
			return fmt.Errorf("lb: open ports on %s: %w", f.name, err)
		}
	}
	link, err := b.env.OpenLink(b.linkConfig(f.name, index))
	if err != nil {
		return fmt.Errorf("lb: open link on %s: %w", f.name, err)
	}
	f.link.put(link)
	return nil
}

// shut closes ports and Link.
func (f *netInterface) shut() {
	for s := range f.allSlots {
		s.remove()
	}
	f.link.remove(f.link.current())
	f.failed.Store(false)
}

// close closes ports and Link, and those that are being opened.
func (f *netInterface) close() {
	for s := range f.allSlots {
		s.close()
	}
	_ = f.link.Close()
}
