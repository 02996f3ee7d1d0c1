package dataplane

import "github.com/golb/golb/forward"

// scheduleFallback enters the connection of a packet that the scheduler found no server
// for: to the fallback server, or else to the fallback page.
func (w *Worker) scheduleFallback(x *rxPacket, v *Service) Reason {
	p, set, s := &x.packet, v.settings.Load(), v.fallback.Load()
	switch {
	case set.refuse && v.Gate() == GateClosed:
		return NoServer
	case s == nil && set.page != nil && p.Proto == forward.ProtoTCP && p.TCPFlags&(forward.FlagSYN|forward.FlagACK) == forward.FlagSYN:
		return w.sendSYNACK(x)
	case s == nil:
		return NoServer
	}
	return w.enterFor(x, set, s)
}

// EndDatagramFlows ends the UDP connections of a server. UDP has no end of a connection:
// a client that goes on sending would stay at the server.
func (p *Plane) EndDatagramFlows(s *Server) {
	for c := uint32(1); c < p.table.used(); c++ {
		m := p.table.conns[c].load()
		if m.has(flagLive) && m.server() == s.ID && p.table.conns[c].proto() == forward.ProtoUDP {
			p.delete(m.id(c), flagAssured)
		}
	}
}
