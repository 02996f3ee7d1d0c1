package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/golb/golb/lb/lbtest/lab"
)

// site is the lab with everything but golb in it: hosts, cables, web servers.
type site struct {
	layout
	lab     *lab.Lab
	client  *lab.Host
	golb    *lab.Host
	servers []*webServer
}

// The interfaces: every host's, and golb's towards the servers where they have a
// network of their own.
const (
	ifname     = "eth0"
	insideName = "eth1"
)

// newSite builds it. The web servers serve until close.
func newSite(ctx context.Context, l layout, m mode) (s *site, err error) {
	s = &site{layout: l}
	if s.lab, err = lab.New(); err != nil {
		return nil, err
	}
	if err := s.build(ctx, m); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) build(ctx context.Context, m mode) error {
	sw, err := s.lab.Switch("switch")
	if err != nil {
		return err
	}
	if s.client, _, err = s.plug("client", sw, s.layout.client); err != nil {
		return err
	}
	if s.golb, _, err = s.plug("golb", sw, s.layout.golb); err != nil {
		return err
	}
	if s.gateway.IsValid() {
		if sw, err = s.lab.Switch("inside"); err != nil {
			return err
		}
		if _, err := s.lab.Attach(s.golb, sw, lab.LinkConfig{Name: insideName, Addrs: []netip.Prefix{s.gateway}}); err != nil {
			return err
		}
	}
	for _, p := range s.layout.servers {
		h, cable, err := s.plug(p.name, sw, p.addr)
		if err != nil {
			return err
		}
		if err := m.prepare(h, s.layout); err != nil {
			return err
		}
		w := &webServer{serverPlan: p, host: h, cable: cable, client: s.layout.client.Addr()}
		if err := w.start(ctx); err != nil {
			return fmt.Errorf("demo: web server %s: %w", p.name, err)
		}
		s.servers = append(s.servers, w)
	}
	return nil
}

// plug makes a host on a switch.
func (s *site) plug(name string, sw *lab.Switch, addr netip.Prefix) (*lab.Host, *lab.Link, error) {
	h, err := s.lab.Host(name)
	if err != nil {
		return nil, nil, err
	}
	link, err := s.lab.Attach(h, sw, lab.LinkConfig{Name: ifname, Addrs: []netip.Prefix{addr}})
	return h, link, err
}

// close leaves nothing behind.
func (s *site) close() error {
	var errs []error
	for _, w := range s.servers {
		errs = append(errs, w.stop())
	}
	return errors.Join(append(errs, s.lab.Close())...)
}

// hosts are all hosts in the order of the drawing.
func (s *site) hosts() []*lab.Host {
	list := []*lab.Host{s.client, s.golb}
	for _, w := range s.servers {
		list = append(list, w.host)
	}
	return list
}
