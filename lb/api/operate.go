package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/golb/golb/lb"
)

// Order is what an operator wants of servers.
type Order struct {
	Server  string `json:"server"`  // name, address or address:port, in every service that has it
	Service string `json:"service"` // by name, where only one service is meant

	Weight *int           `json:"weight"` // nil leaves it
	State  lb.ServerState `json:"state"`  // "" leaves it
	Within string         `json:"within"` // drain: what is left then is cut, as "5m"; "" is never
}

// Ordered is what became of an Order: the services with the servers that it was
// about, as they are now.
type Ordered struct {
	Services []Listed `json:"services"`
}

// maxOrder bounds an order in bytes.
const maxOrder = 64 << 10

// order reads an order and carries it out, on all servers or, where it makes no
// sense, on none.
func order(b *lb.Balancer, w http.ResponseWriter, r *http.Request) {
	var o Order
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
	in.DisallowUnknownFields()
	if err := in.Decode(&o); err != nil {
		answer(w, http.StatusBadRequest, failure{"body: " + err.Error()})
		return
	}
	within, err := o.check()
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	servers := o.find(b.Stats())
	if len(servers) == 0 {
		what := "server " + o.Server + ": no service has it"
		if o.Service != "" {
			what = "server " + o.Server + " of service " + o.Service + ": there is none"
		}
		answer(w, http.StatusNotFound, failure{what})
		return
	}
	var failed []error
	for _, m := range servers {
		failed = append(failed, o.carryOut(b, m, within))
	}
	if err := errors.Join(failed...); err != nil {
		answer(w, http.StatusConflict, failure{err.Error()}) // a config applied meanwhile took it away
		return
	}
	done := Ordered{}
	for _, m := range o.find(b.Stats()) {
		one := *m.service
		one.Servers, one.Fallback = []lb.ServerStats{*m.server}, nil
		done.Services = append(done.Services, listed(&one))
	}
	answer(w, http.StatusOK, done)
}

// check finds what is wrong with an order by itself.
func (o *Order) check() (within time.Duration, err error) {
	const maxWeight = 65535
	switch {
	case o.Server == "":
		return 0, errors.New("server: missing")
	case o.Weight == nil && o.State == "":
		return 0, errors.New("weight, state: one of them is needed")
	case o.Weight != nil && (*o.Weight < 0 || *o.Weight > maxWeight):
		return 0, fmt.Errorf("weight: %d: out of range; allowed: 0 to %d", *o.Weight, maxWeight)
	case o.State != "" && o.State != lb.Active && o.State != lb.Drain && o.State != lb.Halt:
		return 0, fmt.Errorf("state: %q: unknown; allowed: %s, %s or %s", o.State, lb.Active, lb.Drain, lb.Halt)
	case o.Within == "":
		return 0, nil
	case o.State != lb.Drain:
		return 0, fmt.Errorf("within: %q: for state %s only", o.Within, lb.Drain)
	}
	if within, err = time.ParseDuration(o.Within); err != nil || within <= 0 {
		return 0, fmt.Errorf("within: %q: allowed: a time above 0, as 5m", o.Within)
	}
	return within, nil
}

// meant is a server of a service that an order is about.
type meant struct {
	service *lb.ServiceStats
	server  *lb.ServerStats
}

// find returns the servers that are meant.
func (o *Order) find(st lb.Stats) (list []meant) {
	for i := range st.Services {
		v := &st.Services[i]
		if o.Service != "" && o.Service != v.Name {
			continue
		}
		for j := range v.Servers {
			s := &v.Servers[j]
			if o.Server == s.Name || o.Server == s.Address.String() || o.Server == netip.AddrPortFrom(s.Address, s.Port).String() {
				list = append(list, meant{v, s})
			}
		}
	}
	return list
}

func (o *Order) carryOut(b *lb.Balancer, m meant, within time.Duration) error {
	v, s := m.service, m.server
	proto, vip, server := v.Protocol, netip.AddrPortFrom(v.VIP, v.Port), netip.AddrPortFrom(s.Address, s.Port)
	if byMark(v) {
		proto, vip = 0, netip.AddrPortFrom(lb.MarkAddr(v.Mark), 0)
	}
	if o.Weight != nil {
		if err := b.SetWeight(proto, vip, server, *o.Weight); err != nil {
			return err
		}
	}
	if o.State != "" {
		return b.SetState(proto, vip, server, o.State, within)
	}
	return nil
}
