package lb

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"slices"
)

// What else of a config depends on this host: the programs that it names, and the routes to
// its servers.

// hostPrograms finds the programs of checks and alerts that this host does not have.
func (v *validator) hostPrograms(c *Config) {
	v.alertPrograms("alerts", &c.Alerts)
	for i := range c.Services {
		s := &c.Services[i]
		path := fmt.Sprintf("services[%d]", i)
		v.alertPrograms(path+".alerts", &s.Alerts)
		for _, given := range v.givenChecks(path, s.Check, s.MoreChecks) {
			v.checkPrograms(given.path, given.Type, &given.Check)
		}
		for j := range s.Servers {
			r := &s.Servers[j]
			for _, own := range v.givenChecks(fmt.Sprintf("%s.servers[%d]", path, j), r.Check, r.MoreChecks) {
				typ := own.Type
				if typ == "" {
					typ = s.Check.Type
				}
				v.checkPrograms(own.path, typ, &own.Check)
			}
		}
	}
}

// checkPrograms finds the program of a check of type external.
func (v *validator) checkPrograms(path, typ string, c *Check) {
	if typ != "external" && typ != "external-perl" {
		return
	}
	for _, key := range []string{"command", "checkcommand"} {
		if name, ok := c.Params[key].(string); ok {
			v.program(path+"."+key, name)
		}
	}
}

func (v *validator) alertPrograms(path string, a *Alerts) {
	for i, c := range a.Commands {
		v.program(fmt.Sprintf("%s.commands[%d].command", path, i), c.Command)
	}
}

// program checks that a program can be run.
func (v *validator) program(path, name string) {
	if _, err := exec.LookPath(name); err != nil {
		if wrong := (*exec.Error)(nil); errors.As(err, &wrong) {
			err = wrong.Err
		}
		v.fail(path, name, err.Error(), "a program that golb may run")
	}
}

// hostServers finds the servers that no change of routes lets golb reach, as Run does. Where
// the host cannot be asked, it finds none.
func (v *validator) hostServers(c *Config) {
	routes := c.hostRoutes()
	c.eachServer(func(path string, r *Server) {
		if err := routes[r.Address]; errors.Is(err, ErrOwnHost) || errors.Is(err, errNotOneHost) {
			v.fail(path, r.Address, err.Error(), "the address of another host")
		}
	})
}

// serverWarnings returns the servers that are down at first, since there is no route to them.
func (c *Config) serverWarnings() (list []string) {
	routes := c.hostRoutes()
	c.eachServer(func(path string, r *Server) {
		if err := routes[r.Address]; err != nil {
			list = append(list, fmt.Sprintf("%s: %s: %v; the server is down until that changes", path, r.Address, err))
		}
	})
	return list
}

// hostRoutes returns why servers cannot be reached now, by address.
func (c *Config) hostRoutes() map[netip.Addr]error {
	found := map[netip.Addr]error{}
	host, err := openRoutes(slog.New(slog.DiscardHandler))
	if err != nil {
		return found
	}
	defer host.close()
	indexes := map[int]bool{}
	for _, name := range c.Interfaces {
		if i, err := net.InterfaceByName(name); err == nil {
			indexes[i.Index] = true
		}
	}
	c.eachServer(func(_ string, r *Server) {
		if _, asked := found[r.Address]; asked || !r.Address.IsValid() {
			return
		}
		route, err := host.route(r.Address)
		ours := func(h RouteHop) bool { return indexes[h.Index] }
		if err == nil && !indexes[route.Index] && !slices.ContainsFunc(route.Others, ours) {
			err = fmt.Errorf("the route to it leaves by %s, and not by one of the config's interfaces: %v", route.Interface, c.Interfaces)
		}
		found[r.Address] = err
	})
	return found
}

// countingSchedulers choose by the numbers of connections.
var countingSchedulers = []string{"lc", "wlc", "sed", "nq", "lblc", "lblcr"}

// Warnings returns what a config says that golb takes, and that hardly anybody means.
func (c *Config) Warnings() (list []string) {
	if len(c.Services) == 0 {
		list = append(list, "services: none, so that golb forwards nothing")
	}
	for i := range c.Services {
		s := &c.Services[i]
		if len(s.Servers) == 0 && !s.Fallback.hasServer() && s.Fallback.Page == "" {
			list = append(list, fmt.Sprintf("services[%d].servers: none, and no fallback: its connections are refused", i))
		}
		if s.OnePacket && slices.ContainsFunc(s.Servers, func(r Server) bool { return r.method(s) == NAT }) {
			list = append(list, fmt.Sprintf("services[%d].one_packet: with method nat replies leave untranslated, from the server's address", i))
		}
		why := ""
		switch {
		case !slices.Contains(countingSchedulers, s.scheduler()):
		case s.OnePacket:
			why = "one_packet keeps no connections"
		case s.Persistence.Engine == EngineSIP:
			why = "the calls of a proxy are one connection"
		}
		if why != "" {
			list = append(list, fmt.Sprintf("services[%d].scheduler: %s counts connections, and %s: one server may get all packets; rr, wrr, sh or mh do not count",
				i, s.scheduler(), why))
		}
	}
	return list
}
