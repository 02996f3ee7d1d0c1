package lb

import (
	"cmp"
	"time"
)

// source is who says that a server failed. A server is up as long as none does.
type source uint8

const (
	byCheck   source = iota // its check, by its own address
	byPath                  // that of the true path to it
	byClients               // its connections, see Passive
	byAgent                 // the agent on it
	sources
)

// verdict notes what one source says of a server, and puts the server in its service
// or takes it out. It reports whether that changed whether the server is up. The
// lock is held.
func (b *Balancer) verdict(s *server, from source, failed bool, reason string) (changed bool) {
	if from != byClients && !failed && s.says[from] != "" {
		b.acquit(s, b.tick()) // a check that failed passes: that counts for more
		s.says[byClients] = ""
	}
	s.says[from] = ""
	if failed {
		s.says[from] = cmp.Or(reason, "failed")
	}
	was := s.up
	s.reason = cmp.Or(s.says[:]...)
	s.up = s.reason == ""
	if s.up == was {
		return false
	}
	s.changed = time.Now()
	v := s.service
	held := s.held
	if !s.up {
		s.failedAt = b.tick()
	}
	if b.reckon(v); s.held == held {
		b.admit(s)
	}
	if !s.up && !s.held && v.settings.Load().cutFailed {
		b.cut(s)
	}
	return true
}
