package lb_test

import (
	"context"
	"testing"

	"github.com/golb/golb/lb"
)

// A caller may go on with a Config that it has passed on.
func TestConfigIsCopied(t *testing.T) {
	weights := func(b *lb.Balancer) (list []int) {
		for _, s := range b.Config().Services {
			for _, r := range s.Servers {
				if r.Weight == nil {
					list = append(list, 1)
				} else {
					list = append(list, *r.Weight)
				}
			}
		}
		return list
	}
	for name, pass := range map[string]func(b *lb.Balancer, s lb.Service) error{
		"Apply": func(b *lb.Balancer, s lb.Service) error {
			cfg := b.Config()
			cfg.Services = append(cfg.Services, s)
			if err := b.Apply(context.Background(), cfg); err != nil {
				return err
			}
			cfg.Services[0].Servers[0].Weight = new(7)
			return nil
		},
		"AddService": func(b *lb.Balancer, s lb.Service) error { return b.AddService(context.Background(), s) },
		"EditService": func(b *lb.Balancer, s lb.Service) error {
			if err := b.AddService(context.Background(), lb.Service{Name: s.Name, VIP: vip6, Port: 80, Check: s.Check}); err != nil {
				return err
			}
			return b.EditService(context.Background(), s.Name, s)
		},
	} {
		b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}}).balancer
		added := service(vip6, 1)
		added.Name = "added"
		if err := pass(b, added); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		added.Servers[0].Weight = new(7)
		if got := weights(b); len(got) != 2 || got[0] != 1 || got[1] != 1 {
			t.Errorf("%s: what the caller wrote afterwards is in the balancer's config: weights %v, want 1 and 1", name, got)
		}
	}
}
