package lb

import (
	"fmt"
	"net/netip"
)

// SetWeight changes a server's weight at once (ipvsadm -e -w). It stays until a
// config with another weight for the server is applied. 0 ends new connections to
// it, and leaves those that there are.
func (b *Balancer) SetWeight(p Protocol, vip, server netip.AddrPort, weight int) error {
	if weight < 0 || weight > maxWeight {
		return fmt.Errorf("lb: weight %d of %s: out of range; allowed: 0 to %d", weight, server, maxWeight)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Service{VIP: vip.Addr(), Port: vip.Port(), Protocol: p}
	v := b.services[s.id()]
	if v == nil {
		return fmt.Errorf("lb: service %s: %w", s.id(), ErrNoService)
	}
	for _, r := range v.all {
		if r.addrPort() == server {
			v.setWeight(r, int32(weight))
			return nil
		}
	}
	return fmt.Errorf("lb: server %s of service %s: %w", server, s.id(), ErrNoServer)
}
