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

const ifname = "eth0"

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
	plug := func(name string, addr netip.Prefix) (*lab.Host, *lab.Link, error) {
		h, err := s.lab.Host(name)
		if err != nil {
			return nil, nil, err
		}
		link, err := s.lab.Attach(h, sw, lab.LinkConfig{Name: ifname, Addrs: []netip.Prefix{addr}})
		return h, link, err
	}
	if s.client, _, err = plug("client", s.layout.client); err != nil {
		return err
	}
	if s.golb, _, err = plug("golb", s.layout.golb); err != nil {
		return err
	}
	for _, p := range s.layout.servers {
		h, cable, err := plug(p.name, p.addr)
		if err != nil {
			return err
		}
		if err := m.prepare(h, s.vip); err != nil {
			return err
		}
		w := &webServer{serverPlan: p, host: h, cable: cable, vip: s.vip}
		if err := w.start(ctx); err != nil {
			return fmt.Errorf("demo: web server %s: %w", p.name, err)
		}
		s.servers = append(s.servers, w)
	}
	return nil
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
