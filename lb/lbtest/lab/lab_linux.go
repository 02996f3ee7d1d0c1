package lab

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"sync"

	"github.com/vishvananda/netlink"
)

// Lab is a set of hosts and switches. Its methods, and those of what it makes, are safe for concurrent use.
type Lab struct {
	mu       sync.Mutex
	closed   bool
	names    map[string]bool
	hosts    []*Host
	switches []*Switch
	macs     uint32
}

// Switch is a learning bridge without spanning tree, in a namespace of its own.
type Switch struct {
	name string
	ns   *space
	link *netlink.Bridge
	n    int // cables ever plugged in, under Lab.mu
}

const bridgeName = "br0"

// New returns an empty lab. It makes nothing yet; [Unavailable] says whether a lab can be made here.
func New() (*Lab, error) {
	return &Lab{names: make(map[string]bool)}, nil
}

// Close kills the processes that were started in hosts and deletes every interface and namespace. Sockets that are still
// open keep their namespace, empty, until they are closed. Further calls do nothing.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for _, h := range l.hosts {
		if err := h.close(); err != nil {
			errs = append(errs, fmt.Errorf("lab: close host %s: %w", h.name, err))
		}
	}
	for _, s := range l.switches {
		if err := errors.Join(s.ns.clear(), s.ns.close()); err != nil {
			errs = append(errs, fmt.Errorf("lab: close switch %s: %w", s.name, err))
		}
	}
	l.hosts, l.switches = nil, nil
	return errors.Join(errs...)
}

var nameRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]*$`)

// claimLocked checks a name and reserves it.
func (l *Lab) claimLocked(name string) error {
	switch {
	case l.closed:
		return errClosed
	case !nameRule.MatchString(name):
		return fmt.Errorf("bad name %q, want letters, digits, - and _", name)
	case l.names[name]:
		return fmt.Errorf("name %q is taken", name)
	}
	l.names[name] = true
	return nil
}

// Host makes a host: a namespace with lo up, without forwarding and without reverse path filter whatever the machine's
// own settings, and with IPv6 addresses usable as soon as they are added.
func (l *Lab) Host(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.claimLocked(name); err != nil {
		return nil, fmt.Errorf("lab: host: %w", err)
	}
	ns, err := newSpace()
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", name, err)
	}
	h := &Host{name: name, ns: ns}
	l.hosts = append(l.hosts, h)
	if err := ns.settings(); err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", name, err)
	}
	return h, nil
}

// settings makes a host the same everywhere.
func (s *space) settings() error {
	// A new namespace copies the IPv4 settings of the machine it is on; a lab must not depend on them.
	err := s.sysctls(
		[2]string{"net.ipv4.ip_forward", "0"},
		[2]string{"net.ipv4.conf.all.rp_filter", "0"},
		[2]string{"net.ipv4.conf.default.rp_filter", "0"},
		[2]string{"net.ipv4.conf.all.arp_ignore", "0"},
		[2]string{"net.ipv4.conf.default.arp_ignore", "0"},
		[2]string{"net.ipv4.conf.all.arp_announce", "0"},
		[2]string{"net.ipv4.conf.default.arp_announce", "0"},
	)
	if err != nil || !kernelHasIPv6() {
		return err
	}
	return s.sysctls(
		[2]string{"net.ipv6.conf.all.disable_ipv6", "0"},
		[2]string{"net.ipv6.conf.default.disable_ipv6", "0"},
		[2]string{"net.ipv6.conf.default.accept_dad", "0"},
		[2]string{"net.ipv6.conf.default.accept_ra", "0"},
		[2]string{"net.ipv6.conf.default.router_solicitations", "0"},
	)
}

// Switch makes a switch. It forwards from the moment a cable is in, floods multicast and has no address.
func (l *Lab) Switch(name string) (*Switch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.claimLocked(name); err != nil {
		return nil, fmt.Errorf("lab: switch: %w", err)
	}
	ns, err := newSpace()
	if err != nil {
		return nil, fmt.Errorf("lab: switch %s: %w", name, err)
	}
	s := &Switch{name: name, ns: ns}
	l.switches = append(l.switches, s)
	if err := s.build(); err != nil {
		return nil, fmt.Errorf("lab: switch %s: %w", name, err)
	}
	return s, nil
}

func (s *Switch) build() error {
	if kernelHasIPv6() {
		if err := s.ns.sysctls([2]string{"net.ipv6.conf.default.disable_ipv6", "1"}); err != nil {
			return err
		}
	}
	if err := s.ns.bridgeWithoutFilter(); err != nil {
		return err
	}
	snoop := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	s.link = &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snoop}
	if err := s.ns.rtnl(func(nl *netlink.Handle) error { return nl.LinkAdd(s.link) }); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	return s.ns.setUp(bridgeName, true)
}

// macLocked numbers the interfaces of a lab, so that captures of two runs can be compared.
func (l *Lab) macLocked() net.HardwareAddr {
	l.macs++
	return net.HardwareAddr{2, 0, byte(l.macs >> 24), byte(l.macs >> 16), byte(l.macs >> 8), byte(l.macs)}
}

// Unavailable returns nil where labs can be made in this process, else why not, in words fit for t.Skip. It tries it: it
// makes a switch with one host on it and removes them.
func Unavailable() error {
	l, err := New()
	if err != nil {
		return err
	}
	// Not returned: a lab that can be made but not removed must fail tests, not skip them.
	defer l.Close()
	h, err := l.Host("probe")
	if err != nil {
		return fmt.Errorf("%w (needs root, or user namespaces: sysctl user.max_user_namespaces, "+
			"kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone)", err)
	}
	s, err := l.Switch("switch")
	if err != nil {
		return err
	}
	_, err = l.Attach(h, s, LinkConfig{})
	return err
}
