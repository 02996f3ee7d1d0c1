package lb

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// The times of trying again.
const (
	reopenAfter = time.Second      // a port or Link that has failed
	retryAfter  = 10 * time.Second // an interface that cannot be opened
)

// openInterfaces finds and opens the interfaces. One that the host does not have is waited
// for; one that cannot be opened is an error.
func (n *network) openInterfaces(b *Balancer) error {
	for i, name := range n.names {
		f := &netInterface{name: name, number: i, link: newLinkSlot()}
		f.seen.host.MTU = defaultMTU
		for range n.names {
			slots := make([]*portSlot, b.workers)
			for w := range slots {
				slots[w] = newPortSlot(func(err error) { n.hasFailed(f, err) })
			}
			f.slots = append(f.slots, slots)
		}
		n.interfaces, n.links = append(n.interfaces, f), append(n.links, f.link)
	}
	if open := b.env.OpenInterfaces; open != nil {
		var err error
		if n.monitor, err = open(); err != nil {
			return err
		}
		if n.present, err = n.monitor.Next(); err != nil {
			return err
		}
	}
	n.lookAtInterfaces(b)
	for _, f := range n.interfaces {
		if f.seen.err != nil {
			return f.seen.err
		}
		if e := f.seen.event(); e.Kind != EventInterfaceUp {
			e.Interface = f.name
			b.tell(e)
		}
	}
	return nil
}

// hasFailed notes that a port or the Link of an interface has failed, mostly since the
// interface is gone; otherwise followInterfaces opens it again.
func (n *network) hasFailed(f *netInterface, err error) {
	n.logger.Debug("interface failed", "reason", err.Error())
	f.failed.Store(true)
	select {
	case n.broken <- struct{}{}:
	default:
	}
}

// inNamespace calls open on the goroutine that called Run: its thread is in the network
// namespace in which sockets are to be opened. open must not wait for a change.
func (n *network) inNamespace(open func() error) error {
	if !n.serving {
		return open()
	}
	done := make(chan error, 1)
	select {
	case n.opens <- func() { done <- open() }:
		return <-done
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
}

// openForOthers serves inNamespace until golb ends.
func (n *network) openForOthers() {
	for {
		select {
		case open := <-n.opens:
			open()
		case <-n.ctx.Done():
			return
		}
	}
}

// watchInterfaces passes the host's interfaces on whenever they change: only the newest waits
// in lists, which has room for one.
func (n *network) watchInterfaces(b *Balancer, lists chan []HostInterface) error {
	for n.ctx.Err() == nil {
		list, err := n.monitor.Next()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			n.logger.Warn("interfaces cannot be followed; golb begins anew", "reason", err.Error())
			if n.reopenMonitor(b) != nil {
				return nil
			}
			continue
		}
		select {
		case <-lists:
		default:
		}
		lists <- list
	}
	return nil
}

// reopenMonitor replaces the monitor. It fails only where golb ends.
func (n *network) reopenMonitor(b *Balancer) error {
	_ = n.monitor.Close()
	for {
		select {
		case <-n.ctx.Done():
			return n.ctx.Err()
		case <-time.After(reopenAfter):
		}
		var m InterfaceMonitor
		err := n.inNamespace(func() (err error) {
			m, err = b.env.OpenInterfaces()
			return err
		})
		if err != nil {
			continue
		}
		n.monitorMu.Lock()
		n.monitor = m
		n.monitorMu.Unlock()
		if err := n.ctx.Err(); err != nil { // close may have closed the one before
			_ = m.Close()
			return err
		}
		return nil
	}
}

// followInterfaces looks at the interfaces whenever they have changed, and opens those again
// that have failed.
func (n *network) followInterfaces(b *Balancer, lists <-chan []HostInterface) error {
	var again <-chan time.Time
	for {
		var list []HostInterface
		select {
		case <-n.ctx.Done():
			return nil
		case list = <-lists:
		case <-n.broken:
			again = time.After(reopenAfter)
			continue
		case <-again:
		}
		again = nil
		if b.beginChange(n.ctx) != nil {
			return nil // golb ends
		}
		if list != nil {
			n.present = list
		}
		select { // it may have waited
		case n.present = <-lists:
		default:
		}
		changes, usable := n.updateInterfaces(b)
		b.endChange()
		for _, e := range changes {
			b.tell(e)
		}
		if !usable {
			again = time.After(retryAfter)
		}
	}
}

// updateInterfaces looks at the interfaces during a change, and has all follow that depends
// on them. It returns what has changed, and whether all that are there can be used.
func (n *network) updateInterfaces(b *Balancer) (changes []Event, usable bool) {
	var before []seenInterface
	for _, f := range n.interfaces {
		before = append(before, f.seen)
	}
	n.lookAtInterfaces(b)
	usable = true
	for i, f := range n.interfaces {
		for _, e := range f.seen.changes(&before[i]) {
			e.Interface = f.name
			changes = append(changes, e)
			if e.Kind == EventInterfaceUp {
				f.link.wakeTakeIn()
			}
		}
		usable = usable && f.seen.err == nil
	}
	if len(changes) > 0 {
		n.findRoutes(b)
	}
	return changes, usable
}

// lookAtInterfaces finds the interfaces among those that are present, opens those that came,
// closes those that went, and tells the data plane.
func (n *network) lookAtInterfaces(b *Balancer) {
	taken := map[int]bool{}
	for _, f := range n.interfaces {
		if f.seen.found {
			taken[f.seen.host.Index] = true
		}
	}
	var macs []forward.MAC
	var mtus []int
	var known []dataplane.Interface
	for _, f := range n.interfaces {
		seen := n.lookAt(b, f, taken)
		b.mu.Lock()
		f.seen = seen
		b.mu.Unlock()
		h := &seen.host
		macs, mtus = append(macs, h.MAC), append(mtus, h.MTU)
		known = append(known, dataplane.Interface{MAC: h.MAC, MTU: h.MTU, GSOTCP: seen.gsoTCP, GSOUDP: seen.gsoUDP})
		if seen.found {
			taken[h.Index] = true
		}
	}
	b.mu.Lock()
	n.macs, n.mtus = macs, mtus
	b.mu.Unlock()
	n.mapPorts()
	b.plane.SetInterfaces(known)
}

// lookAt finds one interface, and opens or closes it.
func (n *network) lookAt(b *Balancer, f *netInterface, taken map[int]bool) seenInterface {
	seen := f.seen
	host := HostInterface{Name: f.name, MTU: defaultMTU, Up: true, Carrier: true}
	seen.found = true
	if n.monitor != nil {
		host, seen.found = f.find(n.present, taken)
	}
	lost := seen.opened && (f.failed.Load() || host.Index != seen.host.Index || host.hasIPv6Again(&seen.host))
	if lost || !seen.found {
		f.shut()
		seen.opened, seen.err = false, nil
	}
	if !seen.found {
		return seen
	}
	if !seen.opened {
		n.openInterface(b, f, &seen, host.Index)
	}
	if n.monitor == nil {
		if p := f.slots[0][0].port.Load(); p != nil {
			host.MAC, host.MTU = (*p).MAC(), (*p).MTU()
		}
	}
	seen.host = host
	return seen
}

// hasIPv6Again reports whether the kernel gives the interface IPv6 again, which it takes away
// at a small MTU, with the multicast groups that a Link has joined.
func (h *HostInterface) hasIPv6Again(was *HostInterface) bool {
	const leastMTU = 1280 // RFC 8200 section 5
	return was.MTU < leastMTU && h.MTU >= leastMTU
}

// openInterface opens ports and Link, or nothing.
func (n *network) openInterface(b *Balancer, f *netInterface, seen *seenInterface, index int) {
	seen.err = n.inNamespace(func() error { return f.open(b, index) })
	if seen.opened = seen.err == nil; !seen.opened {
		f.shut()
		return
	}
	if p := f.slots[f.number][0].port.Load(); p != nil {
		seen.gsoTCP, seen.gsoUDP = gso(*p)
	}
	if n.serving {
		n.runLink(f, f.link.current())
	}
}

// runLink runs a Link until it is closed or fails.
func (n *network) runLink(f *netInterface, link Link) {
	if link == nil {
		return // golb ends
	}
	n.tasks.Go(func() error {
		if err := link.Run(n.ctx); err != nil && n.ctx.Err() == nil && f.link.remove(link) {
			n.hasFailed(f, err)
		}
		return nil
	})
}

// portMap tells which interface of the host is which of the config's. It is replaced, never
// changed: workers read it.
type portMap struct {
	names   []string    // in the config
	byIndex map[int]int // empty where there is no monitor
	byName  map[string]int
}

// mapPorts makes portMap that of now.
func (n *network) mapPorts() {
	at := portMap{names: n.names, byIndex: map[int]int{}, byName: map[string]int{}}
	for i, f := range n.interfaces {
		if h := &f.seen.host; f.seen.found && h.Index != 0 {
			at.byIndex[h.Index], at.byName[h.Name] = i, i
		}
	}
	for i, name := range n.names {
		at.byName[name] = i
	}
	n.portMap.Store(&at)
}

// placesOf returns, by place, the names that a config has for the same interfaces: that which
// an interface has now, or one that a config had for it. It returns nil where they are not the
// same.
func (n *network) placesOf(names []string) []string {
	places := make([]string, len(n.interfaces))
	for _, is := range []func(*netInterface, string) bool{
		func(f *netInterface, name string) bool { return f.seen.found && f.seen.host.Name == name },
		func(f *netInterface, name string) bool { return f.name == name },
		func(f *netInterface, name string) bool { return slices.Contains(f.names, name) },
	} {
		for _, name := range names {
			for i, f := range n.interfaces {
				if is(f, name) && places[i] == "" && !slices.Contains(places, name) {
					places[i] = name
				}
			}
		}
	}
	if len(names) != len(places) || slices.Contains(places, "") {
		return nil
	}
	return places
}

// setNames gives the interfaces the names of another config.
func (n *network) setNames(b *Balancer, names []string) {
	if slices.Equal(names, n.names) {
		return
	}
	b.mu.Lock()
	n.names = names
	for i, f := range n.interfaces {
		if !slices.Contains(f.names, f.name) {
			f.names = append(f.names, f.name)
		}
		f.name = names[i]
	}
	b.mu.Unlock()
	n.mapPorts()
}

// portOf returns the number of an interface that a route leaves by; -1 where it is not one of
// the config.
func (n *network) portOf(name string, index int) int {
	at := n.portMap.Load()
	if i, ok := at.byIndex[index]; ok {
		return i
	}
	if i, ok := at.byName[name]; ok && (index == 0 || len(at.byIndex) == 0) {
		return i
	}
	return -1
}
