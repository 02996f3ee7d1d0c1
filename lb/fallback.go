package lb

import (
	"fmt"
	"reflect"

	"github.com/golb/golb/forward"
)

// Fallback is what new connections get that no server takes: all of them while the
// service is down (see Service.Quorum), and those that the scheduler finds no server
// for, as where all have as many connections as they may. The zero value is none:
// they are refused. Connections to it go on when servers are back, but not those of UDP,
// which might have no end; persistence does not remember it.
type Fallback struct {
	// Server is one more server, which is never checked (keepalived's sorry_server). It
	// has no weight and no thresholds. The zero value is none.
	Server Server `yaml:"server"`
	// Page, in place of a server, has golb answer HTTP itself. It is what a browser
	// shows, with status 503, or with DefaultPage a page of golb's; where it begins with
	// HTTP/, all of the answer. At most 5360 bytes with its header. golb keeps no state
	// for it, and answers as many SYNs as answer_rate allows.
	Page string `yaml:"page"`
}

// hasServer reports whether there is a fallback server.
func (f *Fallback) hasServer() bool { return f.Server.Address.IsValid() }

func (v *validator) fallback(path string, s *Service) {
	v.page(path+".page", s)
	r := &s.Fallback.Server
	if !s.Fallback.hasServer() {
		if !reflect.ValueOf(*r).IsZero() {
			v.fail(path+".server.address", nil, "no address", "the fallback server's own")
		}
		return
	}
	path += ".server"
	v.server(path, s, r)
	if r.Weight != nil {
		v.fail(path+".weight", *r.Weight, "a fallback server has no weight", "none")
	}
	if r.UpperThreshold != 0 || r.LowerThreshold != 0 {
		v.fail(path, nil, "a fallback server has no thresholds", "none")
	}
	if !reflect.ValueOf(r.Check).IsZero() {
		v.fail(path+".check", nil, "a fallback server is never checked", "none")
	}
	if r.Agent != (Agent{}) {
		v.fail(path+".agent", nil, "a fallback server has no agent", "none")
	}
	for i := range s.Servers {
		if o := &s.Servers[i]; o.addrPort(s) == r.addrPort(s) {
			v.fail(path+".address", r.addrPort(s), fmt.Sprintf("servers[%d] has the same address and port", i), "a server of its own")
		}
	}
}

// dropFallback takes the fallback server off a service that is to have another, or
// none. The lock is held.
func (b *Balancer) dropFallback(v *service, s *Service) {
	r := v.fallback.Load()
	if r == nil || s.Fallback.hasServer() && r.addrPort() == s.Fallback.Server.addrPort(s) {
		return
	}
	v.fallback.Store(nil)
	b.dropServer(v, r)
}

// applyFallback makes the fallback server of v what s says. The lock is held.
func (b *Balancer) applyFallback(v *service, s *Service, workers int) {
	if !s.Fallback.hasServer() {
		return
	}
	cfg := &s.Fallback.Server
	r := v.fallback.Load()
	if r == nil {
		r = b.addServer(v, cfg.addrPort(s), workers)
	}
	r.configure(s, cfg)
	r.weight, r.runWeight = defaultWeight, defaultWeight
	r.SetWeight(defaultWeight)
	r.setThresholds(0, 0)
	r.setGone(false)
	v.fallback.Store(r)
}

// leaveFallback ends what has no end of its own on a fallback server: datagrams of a
// client that goes on sending would go there for good. The lock is held.
func (b *Balancer) leaveFallback(v *service) {
	s := v.fallback.Load()
	if s == nil || !v.settings.Load().datagrams {
		return
	}
	for c := uint32(1); c < b.table.used(); c++ {
		m := b.table.conns[c].load()
		if m.has(flagLive) && m.server() == s.ID && Protocol(b.table.conns[c].ports.Load()>>8) == UDP {
			b.kill(c, m)
		}
	}
}

// fallBack is what becomes of a packet that begins a connection, where no server
// takes that.
func (w *worker) fallBack(snap *snapshot, v *service, f *forward.Frame, key *words, hash uint64) (target, Reason) {
	set, s := v.settings.Load(), v.fallback.Load()
	switch {
	case set.allDown == Refuse && v.closed.Load():
		return target{}, NoServer
	case s == nil && set.page != nil && Protocol(w.packet.Proto) == TCP && w.packet.TCPFlags&(forward.FlagSYN|forward.FlagACK) == forward.FlagSYN:
		return target{}, w.greet(snap, f, key)
	case s == nil:
		return target{}, NoServer
	}
	dport := s.Port
	if dport == 0 {
		dport = w.packet.DstPort
	}
	if set.onePacket {
		return w.once(s, dport), forwarded
	}
	to, reason := w.enter(snap, key, hash, s, dport, 0)
	if reason == TableFull && w.reclaim() {
		to, reason = w.enter(snap, key, hash, s, dport, 0)
	}
	return to, reason
}

// fallbackRoute finds what is wrong with the way to a fallback server, if anything.
func (n *network) fallbackRoute(v *validator, i int, s *Service) {
	if s.Fallback.hasServer() {
		n.checkRoute(v, fmt.Sprintf("services[%d].fallback.server.address", i), s.Fallback.Server.Address)
	}
}

// fallbackStats is nil where there is no fallback server.
func (v *service) fallbackStats() *ServerStats {
	s := v.fallback.Load()
	if s == nil {
		return nil
	}
	st := s.stats()
	return &st
}
