package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/lb/internal/dataplane"
)

// The true path to a server is the path of clients' packets: to the VIP, by golb's own
// rewriting, and back from the VIP. A check of the server's own address passes also where a
// server of DSR or TUN lacks the VIP.

// throughVIP is Check.Through for the true path.
const throughVIP = "vip"

// probeRepeat is the time after which a SYN is taken for lost (RFC 6298 §2).
const probeRepeat = time.Second

// pathCheck is the true path check of one server.
type pathCheck struct {
	balancer     *Balancer
	server       *dataplane.Server
	name         string // the server's
	method       Method
	vip          netip.AddrPort
	acceptsReset bool // for services without TCP: a reset too shows that the server has the VIP
	group        string
	fromVIP      bool // with NAT, while golb has the VIP: no service takes the answers
}

// Check sends a SYN, and repeats it each second, until an answer comes.
func (c *pathCheck) Check(ctx context.Context) error {
	plane := c.balancer.plane
	source, err := c.source()
	if err != nil {
		return fmt.Errorf("%w: SYN through %s: %w", health.ErrNotTried, c.vip, err)
	}
	p, err := plane.NewProbe(dataplane.ProbeConfig{Server: c.server, Source: source, VIP: forward.AddrFrom(c.vip.Addr()), Port: c.vip.Port()})
	if err != nil {
		return fmt.Errorf("SYN through %s: %w", c.vip, err)
	}
	defer plane.EndProbe(p)
	repeat := time.NewTicker(probeRepeat)
	defer repeat.Stop()
	for {
		if sent, why, err := plane.SendProbe(ctx, p); err == nil && !sent {
			return fmt.Errorf("SYN through %s to %s: not sent: %s", c.vip, c.name, why)
		}
		select {
		case <-ctx.Done():
			return c.noAnswer()
		case answer := <-p.Answer():
			if answer == dataplane.ProbeReset && !c.acceptsReset {
				return fmt.Errorf("SYN through %s: %s resets it: nothing listens there", c.vip, c.name)
			}
			return nil
		case <-repeat.C:
		}
	}
}

// noAnswer returns the error of a check without an answer, with what that means.
func (c *pathCheck) noAnswer() error {
	switch c.method {
	case NAT:
		return fmt.Errorf("SYN through %s: no answer from %s in time: it is dead, a firewall drops what comes from the VIP, or its answers "+
			"do not come back through this host, which has to be its default gateway", c.vip, c.name)
	case TUN:
		return fmt.Errorf("SYN through %s: no answer in time: %s is dead, takes no packets out of the tunnel, or none for the VIP: is it on its loopback?",
			c.vip, c.name)
	}
	return fmt.Errorf("SYN through %s: no answer in time: %s is dead, or takes no packets for the VIP: is it on its loopback?", c.vip, c.name)
}

// source returns the address that the SYN comes from: the host's, or the VIP, which a server
// of NAT reaches as it does clients, unless it is in its subnet: by its default gateway.
func (c *pathCheck) source() (forward.Addr, error) {
	vip := c.vip.Addr()
	if c.fromVIP && c.balancer.isActive(c.group) {
		return forward.AddrFrom(vip), nil
	}
	if a := c.server.Source(); a != (forward.Addr{}) && a.Is4() == vip.Is4() {
		return a, nil
	}
	b := c.balancer
	b.mu.Lock()
	n := b.net
	b.mu.Unlock()
	if n == nil {
		return forward.Addr{}, errors.New("golb does not run")
	}
	r, err := n.route(vip)
	if err != nil || !r.Source.IsValid() || r.Source.Is4() != vip.Is4() {
		return forward.Addr{}, fmt.Errorf("no source address: the host's interface has none of %s", familyOf(vip))
	}
	return forward.AddrFrom(r.Source), nil
}

// addPathTargetLocked adds the true path check of a server, where the service has one.
func (b *Balancer) addPathTargetLocked(targets []health.Target, s *Service, r *server) []health.Target {
	c := s.pathCheck()
	if c == nil {
		if r.pathKey = ""; r.failures[sourcePath] != "" {
			b.setServerStateLocked(r, sourcePath, false, "", time.Time{})
		}
		return targets
	}
	check := &pathCheck{
		balancer: b, server: r.dp, name: r.name, method: r.method,
		vip: netip.AddrPortFrom(s.anyVIP(), s.checkedPort()), acceptsReset: !s.takes(TCP), group: s.group(),
	}
	check.fromVIP = r.method == NAT && !b.cfg.takesProbes(check.vip.Addr())
	key := fmt.Sprintf("path %s to %s of %s, %s", check.vip, r.addrPort(), r.service.id, c.schedule())
	b.paths[key] = r
	known := r.known(sourcePath, r.pathKey != "")
	r.pathKey = key
	return append(targets, health.Target{Key: key, Checker: check, State: known, Settings: c.settings()})
}

// takesProbes reports whether a service takes TCP to those of a VIP's ports that probes come
// from, as that of FTP may.
func (c *Config) takesProbes(vip netip.Addr) bool {
	const ftp = 21
	for i := range c.Services {
		s := &c.Services[i]
		for _, m := range s.matches() {
			reaches := s.Port == ftp || len(m.Ports) == 0 ||
				slices.ContainsFunc(m.Ports, func(r PortRange) bool { return r.Last >= dataplane.ProbePortsFrom })
			if reaches && m.VIP.Contains(vip) && slices.Contains(m.protocols(), TCP) {
				return true
			}
		}
	}
	return false
}

// pathCheck returns the service's check that asks for the true path too; nil is none.
func (s *Service) pathCheck() *Check {
	for _, c := range s.checks() {
		if c.Through == throughVIP {
			c.Timeout = cmp.Or(c.ConnectTimeout, c.Timeout)
			return &c
		}
	}
	return nil
}

// through checks the setting of a service's check; other is that of the ones before.
func (v *validator) through(path string, s *Service, c *Check, other string) {
	switch {
	case c.Through == "":
	case c.Through != throughVIP:
		v.fail(path, c.Through, "unknown value", throughVIP+", or nothing")
	case other != "":
		v.fail(path, c.Through, "given by another check of the service", "one of them")
	case s.checkedPort() == 0:
		v.fail(path, c.Through, "a service of all ports has no port to check", "nothing")
	}
}
