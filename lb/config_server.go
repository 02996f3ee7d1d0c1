package lb

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
)

func (v *validator) method(path string, m Method) {
	if _, ok := methodNames[m]; m != 0 && !ok {
		v.fail(path, m, "unknown method", "dsr, nat or tun")
	}
}

func (v *validator) tunnel(path string, t *Tunnel) {
	switch {
	case t.Type == GUE && t.Port == 0:
		v.fail(path+".port", t.Port, "gue without the server's UDP port", "1 to 65535")
	case t.Type != GUE && t.Port != 0:
		v.fail(path+".port", t.Port, t.Type.String()+" has no port", "a port with gue only")
	}
	if t.Type == IPIP && t.Checksum {
		v.fail(path+".checksum", t.Checksum, "ipip has no checksum", "true with gue and gre only")
	}
}

func (v *validator) server(path string, s *Service, r *Server) {
	v.address(path, "address", r.Address)
	v.method(path+".method", r.Method)
	v.tunnel(path+".tunnel", &r.Tunnel)
	v.mac(path+".mac", r)
	v.agent(path+".agent", &r.Agent)
	if st := r.state(); st != StateActive && st != StateDrain && st != StateHalt {
		v.fail(path+".state", r.State, "unknown state", fmt.Sprintf("%s, %s or %s", StateActive, StateDrain, StateHalt))
	}
	if r.UpperThreshold < 0 || r.UpperThreshold > math.MaxInt32 {
		v.fail(path+".u_threshold", r.UpperThreshold, "out of range", "0 (none) to 2147483647")
	}
	if r.LowerThreshold < 0 || r.LowerThreshold > r.UpperThreshold {
		v.fail(path+".l_threshold", r.LowerThreshold, "out of range", fmt.Sprintf("0 to u_threshold, %d", r.UpperThreshold))
	}
	own := false
	for _, m := range s.matches() {
		switch {
		case !r.Address.IsValid() || !m.VIP.IsValid():
		case m.VIP.Contains(r.Address):
			own = true
			v.fail(path+".address", r.Address, "the VIP itself", "the server's own address")
		case r.Address.Is4() != m.VIP.Addr().Is4() && r.method(s) != TUN:
			v.fail(path+".address", r.Address, "not of the VIP's family", familyOf(m.VIP.Addr()))
		}
	}
	if !own {
		v.notVIP(path+".address", r.Address)
	}
	if r.Port != 0 && r.Port != s.Port && (s.Port != 0 || len(s.Match) > 0) && (r.method(s) == DSR || r.method(s) == TUN) {
		v.fail(path+".port", r.Port, fmt.Sprintf("with method %s the port stays the service's", r.method(s)), portsOf(s))
	}
	if r.Weight != nil && (*r.Weight < 0 || *r.Weight > maxWeight) {
		v.fail(path+".weight", *r.Weight, "out of range", fmt.Sprintf("0 to %d", maxWeight))
	}
}

// notVIP refuses an address that golb's own packets are to go to, and that golb answers for
// itself.
func (v *validator) notVIP(path string, a netip.Addr) {
	if !v.compat && v.vips[a] {
		v.fail(path, a, "a VIP of golb's, which sends no packets to itself", "the address of another host")
	}
}

// mac checks the MAC that a server is pinned to, which holds for its address.
func (v *validator) mac(path string, r *Server) {
	if r.MAC.IsGroup() {
		v.fail(path, r.MAC, "a group address", "the MAC of one host, as 02:00:00:00:00:11")
	}
	if r.MAC.IsZero() {
		return
	}
	if other, given := v.pinned[r.Address]; given && other != r.MAC {
		v.fail(path, r.MAC, fmt.Sprintf("%s is at %s elsewhere in the config", r.Address, other), "one MAC for all servers of an address")
	}
	v.pinned[r.Address] = r.MAC
}

// portsOf is what a server's port may be where packets keep theirs.
func portsOf(s *Service) string {
	if s.Port != 0 {
		return strconv.Itoa(int(s.Port))
	}
	return "none"
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "an IPv4 address"
	}
	return "an IPv6 address"
}
