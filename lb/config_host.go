package lb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/golb/golb/lb/internal/memlimit"
)

// ValidateHost finds the mistakes that depend on this host: a processor that golb may not
// run on, a table that does not fit the memory limit, a VIP that is one of the host's own addresses, a server that is this host, a
// program of a check or an alert that is not there. Run makes the same checks. It returns nil, ConfigErrors, or
// the error of asking the host. An interface that is missing is no mistake: it may come.
func (c *Config) ValidateHost() error { return c.validateHost(memlimit.OfProcess()) }

// validateHost is ValidateHost with the memory limit as it was before there was a table.
func (c *Config) validateHost(limit memlimit.Limit) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("lb: list interfaces: %w", err)
	}
	local, err := localAddrs(interfaces)
	if err != nil {
		return err
	}
	v := &validator{}
	if len(c.CPUs) > 0 {
		v.hostCPUs(c.CPUs)
	}
	for i := range c.Services {
		s := &c.Services[i]
		for j, m := range s.matches() {
			for addr, dev := range local {
				if m.VIP.Contains(addr) {
					v.fail(s.matchPath(i, j), m.VIP, localProblem(m.VIP, addr, dev),
						"an address that no interface of this host has; golb answers for it itself")
				}
			}
		}
	}
	v.hostMemory(c, limit)
	v.hostPrograms(c)
	v.hostServers(c)
	return v.result()
}

// localAddrs returns the addresses of interfaces, with the interface of each.
func localAddrs(interfaces []net.Interface) (map[netip.Addr]string, error) {
	local := map[netip.Addr]string{}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("lb: list addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				local[p.Addr().Unmap()] = i.Name
			}
		}
	}
	return local, nil
}

// HostWarnings returns what Run does with less of, and what it starts without and waits for: a
// connection table that the memory limit lowers, interfaces that this host does
// not have now, that are down, or that have no carrier, and sources of checks and agents
// that it does not have.
func (c *Config) HostWarnings() (list []string, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("lb: list interfaces: %w", err)
	}
	if _, warning := c.tableSize(memlimit.OfProcess()); warning != "" {
		list = append(list, warning)
	}
	for _, name := range c.Interfaces {
		state := InterfaceMissing
		for _, i := range interfaces {
			switch {
			case i.Name != name:
			case i.Flags&net.FlagUp == 0:
				state = InterfaceDown
			case i.Flags&net.FlagRunning == 0:
				state = InterfaceNoCarrier
			default:
				state = InterfaceUp
			}
		}
		switch state {
		case InterfaceUp:
		case InterfaceNoCarrier:
			list = append(list, "interface "+name+" has no carrier")
		default:
			list = append(list, fmt.Sprintf("interface %s is %s", name, state))
		}
	}
	local, err := localAddrs(interfaces)
	if err != nil {
		return nil, err
	}
	list = append(list, c.serverWarnings()...)
	return append(list, c.sourceWarnings(interfaces, func(a netip.Addr) bool { return local[a] != "" })...), nil
}

// sourceWarnings returns what this host lacks of the sources of checks and agents; local
// reports whether it has an address.
func (c *Config) sourceWarnings(interfaces []net.Interface, local func(netip.Addr) bool) (list []string) {
	warn := func(what string, addr netip.Addr, dev string) {
		text := ""
		if addr.IsValid() && !local(addr) {
			text = fmt.Sprintf("%s: no interface of this host has the source address %s", what, addr)
		} else if dev != "" && !slices.ContainsFunc(interfaces, func(i net.Interface) bool { return i.Name == dev }) {
			text = fmt.Sprintf("%s: this host has no interface %s", what, dev)
		}
		if text != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	for i := range c.Services {
		s := &c.Services[i]
		checks, agents := append([]Check{s.Check}, s.MoreChecks...), []Agent{s.Agent}
		for _, r := range s.Servers {
			checks, agents = append(append(checks, r.Check), r.MoreChecks...), append(agents, r.Agent)
		}
		for _, check := range checks {
			warn("checks of "+s.name(), check.Source, check.Interface)
		}
		for _, agent := range agents {
			warn("agents of "+s.name(), agent.Source, agent.Interface)
		}
	}
	return list
}

// localProblem returns the problem of a VIP that contains an address of the host.
func localProblem(v VIP, addr netip.Addr, dev string) string {
	if v.IsSingleIP() {
		return "a local address, on interface " + dev
	}
	return fmt.Sprintf("it holds %s, a local address, on interface %s", addr, dev)
}

// warnings returns a warning for each VIP whose packets the host's own stack would route or
// answer: it sees them too, and should drop them. route asks the host's routing table;
// sysctl reports whether a setting under /proc/sys is on.
func (c *Config) warnings(route func(netip.Addr) (Route, error), sysctl func(file string) bool) []string {
	forwards := map[bool]bool{
		true:  sysctl("/proc/sys/net/ipv4/ip_forward"),
		false: sysctl("/proc/sys/net/ipv6/conf/all/forwarding"),
	}
	var list []string
	for _, vip := range c.vips() {
		_, err := route(vip.Addr())
		problem := ""
		switch is4 := vip.Addr().Is4(); {
		case errors.Is(err, syscall.EINVAL): // a blackhole
		case err == nil && forwards[is4]:
			problem = "this host routes packets, and would send those for %s a second time"
		case err != nil && (forwards[is4] || !is4): // an IPv4 host that does not forward sends no unreachables
			problem = "this host has no route to %s, and its kernel would send unreachables to clients"
		}
		if problem != "" {
			list = append(list, fmt.Sprintf(problem+"; to prevent it: ip route add blackhole %[1]s", vip))
		}
	}
	return list
}

// isOn reads a sysctl.
func isOn(file string) bool {
	b, err := os.ReadFile(file)
	return err == nil && strings.TrimSpace(string(b)) != "0"
}

// hostCPUs finds the processors that golb may not run on.
func (v *validator) hostCPUs(list []int) {
	have, err := processors()
	for i, n := range list {
		path := fmt.Sprintf("cpus[%d]", i)
		switch {
		case err != nil:
			v.fail(path, n, err.Error(), "none, not to pin")
		case !slices.Contains(have, n):
			v.fail(path, n, "not a processor that golb may run on", fmt.Sprint(have))
		}
	}
}
