package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
)

// slotPort is a port whose Recv waits, and that counts what is sent.
type slotPort struct {
	rigPort
	closed chan struct{}
	filter forward.Filter
	refuse error // of SetFilter
}

func newSlotPort() *slotPort { return &slotPort{closed: make(chan struct{})} }

func (p *slotPort) Recv([]forward.Frame) (int, error) {
	<-p.closed
	return 0, net.ErrClosed
}

func (p *slotPort) SetFilter(f forward.Filter) (bool, error) {
	if p.refuse == nil {
		p.filter = f
	}
	return true, p.refuse
}

func (p *slotPort) Stats() forward.PortStats { return forward.PortStats{Sent: uint64(p.n)} }

func (p *slotPort) Close() error {
	close(p.closed)
	return nil
}

// TestAWorkerOutlivesItsPorts: it waits where there is none, takes the next one with the
// filter of now, and ends when the slot is closed. Counters go on.
func TestAWorkerOutlivesItsPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPortSlot(func(err error) { t.Errorf("failed: %v", err) })
		woken, ended := 0, false
		go func() {
			for {
				n, err := s.Recv(make([]forward.Frame, 1))
				if ended = errors.Is(err, net.ErrClosed); ended {
					return
				}
				if n != 0 || err != nil {
					t.Errorf("received %d, %v", n, err)
				}
				woken++
			}
		}()
		wakes := func(what string, do func()) {
			t.Helper()
			synctest.Wait()
			before := woken
			do()
			synctest.Wait()
			if woken == before && !ended {
				t.Errorf("%s: the worker sleeps on", what)
			}
		}
		frames := make([]forward.Frame, 3)
		send := func(want int) {
			t.Helper()
			if n, err := s.Send(frames); n != want || err != nil {
				t.Errorf("sent %d, %v, want %d", n, err, want)
			}
		}
		send(0)
		wakes("a task", s.Wake)
		vips := forward.Filter{VIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.80/32")}}
		_, err := s.SetFilter(vips)
		must(t, err)
		for range 2 {
			p := newSlotPort()
			wakes("a port", func() { must(t, s.put(p, true)) })
			if fmt.Sprint(p.filter) != fmt.Sprint(vips) {
				t.Errorf("the port has the filter %v", p.filter)
			}
			send(3)
			wakes("no port", s.remove)
		}
		send(0)
		if got, want := s.Stats(), (forward.PortStats{Sent: 6, SendDown: 6}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		refuses := newSlotPort()
		refuses.refuse = errStep
		if err := s.put(refuses, true); !errors.Is(err, errStep) {
			t.Errorf("a port that refuses its filter: %v", err)
		}
		<-refuses.closed
		wakes("the end", s.close)
		late := newSlotPort()
		must(t, s.put(late, false))
		<-late.closed
		if !ended {
			t.Error("the worker goes on")
		}
	})
}

// slotLink is a Link of which a test says what it finds.
type slotLink struct {
	rigLink
	probe  error
	vips   []LinkVIP
	known  bool // it answers Resolve at once
	asked  int
	closed bool
}

func (l *slotLink) Probe(context.Context, ...netip.Addr) error { return l.probe }
func (l *slotLink) Close() error                               { l.closed = true; return nil }

func (l *slotLink) SetVIPs(vips []LinkVIP) error {
	l.vips = vips
	return nil
}

func (l *slotLink) Resolve(a netip.Addr, changed func([6]byte, bool)) func() {
	l.asked++
	if l.known {
		changed(rigServerMAC(a), true)
	}
	return func() { l.asked-- }
}

// TestVIPsAreAnsweredForOnceTheyAreProbed: on a Link that could not do it before, too.
func TestVIPsAreAnsweredForOnceTheyAreProbed(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("192.0.2.81")
	vips := []LinkVIP{{Addr: a}, {Addr: b}}
	for name, first := range map[string]*slotLink{
		"missing": nil, "no carrier": {probe: fmt.Errorf("so: %w", ErrLinkDown)}, "just deleted": {probe: net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLinkSlot()
			if first != nil {
				l.put(first)
			}
			must(t, l.Probe(t.Context(), a, b))
			must(t, l.SetVIPs(vips))
			must(t, l.Announce(t.Context(), a, b))
			link := first
			if link == nil {
				link = &slotLink{}
				l.put(link)
			}
			if len(link.vips) > 0 {
				t.Errorf("answers for %v, which are not probed", link.vips)
			}
			at, due := l.unprobedVIPs()
			if at != Link(link) || len(due) != 2 {
				t.Errorf("%v are due", due)
			}
			if !l.setProbed(link, []netip.Addr{a}) {
				t.Error("the link is not there")
			}
			must(t, l.SetVIPs(vips))
			if fmt.Sprint(link.vips) != fmt.Sprint(vips[:1]) {
				t.Errorf("answers for %v", link.vips)
			}
			must(t, l.SetVIPs(nil))
			if _, due := l.unprobedVIPs(); len(due) > 0 {
				t.Errorf("%v are due after all were given up", due)
			}
		})
	}
	l := newLinkSlot()
	l.put(&slotLink{probe: errStep})
	if err := l.Probe(t.Context(), a); !errors.Is(err, errStep) {
		t.Errorf("a conflict is told as %v", err)
	}
}

// TestQuestionsMoveToTheNextLink: what one Link knew is told to be silent where the next one
// does not hear of it.
func TestQuestionsMoveToTheNextLink(t *testing.T) {
	for name, known := range map[string]bool{"answers": true, "is silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLinkSlot()
				answers := "never"
				ask := func() (stop func()) {
					return l.Resolve(rigServer(1), func(_ [6]byte, ok bool) { answers = fmt.Sprint(ok) })
				}
				stop := ask()
				stopped := ask()
				stopped()
				first, second := &slotLink{known: true}, &slotLink{known: known}
				l.put(first)
				if answers != "true" || first.asked != 1 {
					t.Errorf("%s, asked %d times", answers, first.asked)
				}
				if !l.remove(first) || l.remove(first) || !first.closed {
					t.Error("the first link is not removed once")
				}
				l.put(second)
				time.Sleep(2 * neighborTimeout)
				synctest.Wait()
				if answers != fmt.Sprint(known) || second.asked != 1 {
					t.Errorf("%s, asked %d times", answers, second.asked)
				}
				stop()
				must(t, l.Close())
				if second.asked != 0 || !second.closed || l.put(&slotLink{}) {
					t.Errorf("after the end, %d are asked", second.asked)
				}
			})
		})
	}
}
