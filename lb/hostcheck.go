package lb

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ValidateHost finds the mistakes that show on this host only: an interface that is
// not there, a VIP that is one of the host's own addresses. It returns nil,
// ConfigErrors, or the error of asking the host.
func (c *Config) ValidateHost() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("lb: list interfaces: %w", err)
	}
	names := map[string]bool{}
	local := map[netip.Addr]string{}
	for _, i := range interfaces {
		names[i.Name] = true
		addrs, err := i.Addrs()
		if err != nil {
			return fmt.Errorf("lb: list addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				local[p.Addr().Unmap()] = i.Name
			}
		}
	}
	v := &validator{}
	for i, name := range c.Interfaces {
		if !names[name] {
			v.fail(fmt.Sprintf("interfaces[%d]", i), name, "no such interface", nameList(interfaces))
		}
	}
	for i, s := range c.Services {
		if dev, ok := local[s.VIP.Unmap()]; ok {
			v.fail(fmt.Sprintf("services[%d].vip", i), s.VIP,
				"a local address, on interface "+dev,
				"an address that no interface of this host has; golb answers for it itself")
		}
	}
	return v.result()
}

func nameList(interfaces []net.Interface) string {
	var names []string
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, ", ")
}
