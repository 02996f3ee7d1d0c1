package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/golb/golb/lb"
)

// ServerUpdate changes the weight or state of servers.
type ServerUpdate struct {
	Server  string `json:"server"`  // name, address or address:port, in every service that has it
	Service string `json:"service"` // the name of the only service to change it in; "" means every service

	Weight *int           `json:"weight"` // nil leaves it
	State  lb.ServerState `json:"state"`  // "" leaves it
	Within string         `json:"within"` // for drain: the time after which connections that are left are cut, as "5m"; "" means never
}

// UpdateResult has the servers that a ServerUpdate changed, in their services, as they are
// now.
type UpdateResult struct {
	Services []lb.ServiceStats `json:"services"`
}

// maxUpdate bounds a ServerUpdate in bytes.
const maxUpdate = 64 << 10

// updateServers reads a ServerUpdate and applies it: to all its servers, or, where it has a
// mistake, to none.
func (h *handler) updateServers(w http.ResponseWriter, r *http.Request) {
	var u ServerUpdate
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxUpdate))
	in.DisallowUnknownFields()
	if err := in.Decode(&u); err != nil {
		answer(w, http.StatusBadRequest, failure{"body: " + err.Error()})
		return
	}
	within, err := u.check()
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	refs := u.find(h.Stats())
	if len(refs) == 0 {
		what := "server " + u.Server + ": no service has it"
		if u.Service != "" {
			what = "server " + u.Server + " of service " + u.Service + ": there is none"
		}
		answer(w, http.StatusNotFound, failure{what})
		return
	}
	var failed []error
	for _, name := range refs {
		failed = append(failed, u.apply(h, name, within))
	}
	if err := errors.Join(failed...); err != nil {
		answer(w, http.StatusConflict, failure{err.Error()}) // a config applied meanwhile has removed it
		return
	}
	h.logOrder(r, "order carried out", u.attrs(len(refs))...)
	answer(w, http.StatusOK, UpdateResult{u.only(h.Stats())})
}

// attrs returns the update for the log.
func (u *ServerUpdate) attrs(services int) []slog.Attr {
	attrs := []slog.Attr{slog.String("server", u.Server)}
	if u.Service != "" {
		attrs = append(attrs, slog.String("service", u.Service))
	} else {
		attrs = append(attrs, slog.Int("services", services))
	}
	if u.Weight != nil {
		attrs = append(attrs, slog.Int("weight", *u.Weight))
	}
	if u.State != "" {
		attrs = append(attrs, slog.String("state", string(u.State)))
	}
	if u.Within != "" {
		attrs = append(attrs, slog.String("within", u.Within))
	}
	return attrs
}

// check finds the mistakes in an update that do not depend on the balancer.
func (u *ServerUpdate) check() (within time.Duration, err error) {
	const maxWeight = 65535
	switch {
	case u.Server == "":
		return 0, errors.New("server: missing")
	case u.Weight == nil && u.State == "":
		return 0, errors.New("weight, state: one of them is needed")
	case u.Weight != nil && (*u.Weight < 0 || *u.Weight > maxWeight):
		return 0, fmt.Errorf("weight: %d: out of range; allowed: 0 to %d", *u.Weight, maxWeight)
	case u.State != "" && u.State != lb.StateActive && u.State != lb.StateDrain && u.State != lb.StateHalt:
		return 0, fmt.Errorf("state: %q: unknown; allowed: %s, %s or %s", u.State, lb.StateActive, lb.StateDrain, lb.StateHalt)
	case u.Within == "":
		return 0, nil
	case u.State != lb.StateDrain:
		return 0, fmt.Errorf("within: %q: for state %s only", u.Within, lb.StateDrain)
	}
	if within, err = time.ParseDuration(u.Within); err != nil || within <= 0 {
		return 0, fmt.Errorf("within: %q: allowed: a time above 0, as 5m", u.Within)
	}
	return within, nil
}

// means reports whether the update is to change a server of a service.
func (u *ServerUpdate) means(v *lb.ServiceStats, s *lb.ServerStats) bool {
	return (u.Service == "" || u.Service == v.Name) &&
		(u.Server == s.Name || u.Server == s.Address.String() || u.Server == netip.AddrPortFrom(s.Address, s.Port).String())
}

// find returns the servers that the update is to change.
func (u *ServerUpdate) find(st lb.Stats) (refs []lb.ServerRef) {
	for i := range st.Services {
		v := &st.Services[i]
		for j := range v.Servers {
			if u.means(v, &v.Servers[j]) {
				refs = append(refs, lb.ServerRef{Service: v.Name, Server: v.Servers[j].Name})
			}
		}
	}
	return refs
}

// only returns the services that have servers which the update is to change, with these
// servers alone.
func (u *ServerUpdate) only(st lb.Stats) []lb.ServiceStats {
	list := []lb.ServiceStats{}
	for i := range st.Services {
		v := st.Services[i]
		servers := v.Servers
		v.Servers, v.Fallback = nil, nil
		for j := range servers {
			if u.means(&v, &servers[j]) {
				v.Servers = append(v.Servers, servers[j])
			}
		}
		if len(v.Servers) > 0 {
			list = append(list, v)
		}
	}
	return list
}

func (u *ServerUpdate) apply(b Balancer, name lb.ServerRef, within time.Duration) error {
	if u.Weight != nil {
		if err := b.SetWeight(name, *u.Weight); err != nil {
			return err
		}
	}
	switch u.State {
	case lb.StateActive:
		return b.Activate(name)
	case lb.StateDrain:
		return b.Drain(name, within)
	case lb.StateHalt:
		return b.Halt(name)
	}
	return nil
}
