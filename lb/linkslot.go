package lb

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// linkSlot is where an interface has its Link; it is a Link itself. While the interface is
// missing it is empty: it notes VIPs and questions, and gives them to each Link that it
// gets. VIPs that could not be probed, since there was no Link or no carrier, are not
// answered for until takeIn has probed them.
type linkSlot struct {
	came chan struct{} // has an element when there may be something for takeIn to do

	mu        sync.Mutex // guards what follows; not held while the Link is called
	link      Link       // nil while empty
	closed    bool
	vips      []LinkVIP           // to answer for
	unprobed  map[netip.Addr]bool // which may be none of vips yet
	questions map[*question]bool
}

// question is a call of Resolve.
type question struct {
	addr    netip.Addr
	changed func(mac [6]byte, ok bool)
	stop    func()  // of the Link that has it; nil where none has
	mac     [6]byte // what changed was called with last
	ok      bool
	teller  Link // that said so
}

func newLinkSlot() *linkSlot {
	return &linkSlot{came: make(chan struct{}, 1), unprobed: map[netip.Addr]bool{}, questions: map[*question]bool{}}
}

// current returns the Link; nil while there is none.
func (l *linkSlot) current() Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.link
}

// put fills the empty slot. It reports false, and closes the Link, after Close.
func (l *linkSlot) put(link Link) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		_ = link.Close()
		return false
	}
	l.link = link
	for _, v := range l.vips {
		l.unprobed[v.Addr] = true
	}
	var all []*question
	for q := range l.questions {
		all = append(all, q)
	}
	l.mu.Unlock()
	for _, q := range all {
		l.ask(link, q)
	}
	if len(all) > 0 {
		time.AfterFunc(neighborTimeout, func() { l.forget(link, all) })
	}
	l.wakeTakeIn()
	return true
}

// forget says of neighbors that a Link before has known that they are silent, where the Link
// has not heard of them: it does not say so of those that never answered.
func (l *linkSlot) forget(link Link, all []*question) {
	for _, q := range all {
		l.mu.Lock()
		gone := l.link == link && l.questions[q] && q.ok && q.teller != link
		if gone {
			q.ok = false
		}
		l.mu.Unlock()
		if gone {
			q.changed(q.mac, false)
		}
	}
}

// remove empties the slot of a Link, and closes it; it reports whether the Link was there.
func (l *linkSlot) remove(link Link) bool {
	l.mu.Lock()
	there := link != nil && l.link == link
	if there {
		l.link = nil
		for q := range l.questions {
			q.stop = nil
		}
	}
	l.mu.Unlock()
	if there {
		_ = link.Close()
	}
	return there
}

// wakeTakeIn has takeIn look what there is to do.
func (l *linkSlot) wakeTakeIn() {
	select {
	case l.came <- struct{}{}:
	default:
	}
}

// Run is not called: see network.runLink.
func (l *linkSlot) Run(context.Context) error { return errors.ErrUnsupported }

// SetVIPs has the Link answer for the VIPs, but those that wait to be probed.
func (l *linkSlot) SetVIPs(vips []LinkVIP) error {
	l.mu.Lock()
	link, probed := l.link, l.probedLocked(vips)
	l.mu.Unlock()
	if link != nil {
		if err := link.SetVIPs(probed); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vips = vips
	for a := range l.unprobed {
		if !slices.ContainsFunc(vips, func(v LinkVIP) bool { return v.Addr == a }) {
			delete(l.unprobed, a)
		}
	}
	if len(l.unprobed) > 0 {
		l.wakeTakeIn()
	}
	return nil
}

func (l *linkSlot) probedLocked(vips []LinkVIP) []LinkVIP {
	return slices.DeleteFunc(slices.Clone(vips), func(v LinkVIP) bool { return l.unprobed[v.Addr] })
}

// Probe has the Link probe. Where that is not possible now, it succeeds, and the addresses
// wait for takeIn.
func (l *linkSlot) Probe(ctx context.Context, vips ...netip.Addr) error {
	err := ErrLinkDown
	if link := l.current(); link != nil {
		err = link.Probe(ctx, vips...)
	}
	later := errors.Is(err, ErrLinkDown) || errors.Is(err, net.ErrClosed)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range vips {
		if later {
			l.unprobed[a] = true
		} else {
			delete(l.unprobed, a)
		}
	}
	if later {
		return ctx.Err()
	}
	return err
}

// unprobedVIPs are those VIPs that wait to be probed, and the Link that can do it, if any.
func (l *linkSlot) unprobedVIPs() (link Link, list []LinkVIP) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link == nil {
		return nil, nil
	}
	for _, v := range l.vips {
		if l.unprobed[v.Addr] {
			list = append(list, v)
		}
	}
	return l.link, list
}

// setProbed notes that a Link has probed VIPs, which SetVIPs may then have answered for. It
// reports false where that Link is not there any more.
func (l *linkSlot) setProbed(link Link, probed []netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != link {
		return false
	}
	for _, a := range probed {
		delete(l.unprobed, a)
	}
	return true
}

// Announce has the Link announce VIPs. Those that wait for it, or to be probed, are
// announced later.
func (l *linkSlot) Announce(ctx context.Context, vips ...netip.Addr) error {
	l.mu.Lock()
	link := l.link
	probed := slices.DeleteFunc(slices.Clone(vips), func(a netip.Addr) bool { return l.unprobed[a] })
	l.mu.Unlock()
	if link == nil || len(probed) == 0 {
		return nil
	}
	if err := link.Announce(ctx, probed...); err != nil && l.current() == link {
		return err
	}
	return nil
}

// Resolve has each Link resolve addr until stop is called.
func (l *linkSlot) Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	q := &question{addr: addr, changed: changed}
	l.mu.Lock()
	l.questions[q] = true
	link := l.link
	l.mu.Unlock()
	if link != nil {
		l.ask(link, q)
	}
	return func() {
		l.mu.Lock()
		stop := q.stop
		delete(l.questions, q)
		l.mu.Unlock()
		if stop != nil {
			stop()
		}
	}
}

// ask has a Link resolve what q asks, unless it does already, or need not any more.
func (l *linkSlot) ask(link Link, q *question) {
	stop := link.Resolve(q.addr, func(mac [6]byte, ok bool) {
		l.mu.Lock()
		there := l.link == link
		if there {
			q.mac, q.ok, q.teller = mac, ok, link
		}
		l.mu.Unlock()
		if there {
			q.changed(mac, ok)
		}
	})
	l.mu.Lock()
	needed := l.questions[q] && l.link == link && q.stop == nil
	if needed {
		q.stop = stop
	}
	l.mu.Unlock()
	if !needed {
		stop()
	}
}

// Stats are those of the Link.
func (l *linkSlot) Stats() LinkStats {
	if link := l.current(); link != nil {
		return link.Stats()
	}
	return LinkStats{}
}

// Close empties the slot for good.
func (l *linkSlot) Close() error {
	l.mu.Lock()
	l.closed = true
	link := l.link
	l.mu.Unlock()
	l.remove(link)
	return nil
}
