package lb

import (
	"net/netip"
	"testing"
	"time"
)

func TestServicesThatAreAlikeShareTheirSettings(t *testing.T) {
	services := make([]Service, 3)
	for i := range services {
		services[i] = Service{VIP: crowdVIP.Addr(), Port: uint16(80 + i), Check: Check{Type: "none"}, Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1")}}}
	}
	services[2].Timeouts.FinWait = time.Minute
	cfg := Config{Workers: 1, MaxConnections: minConnections, Services: services}
	r := newRig(t, cfg)
	of := func(i int) *serviceSettings { return r.b.services[services[i].id()].settings.Load() }
	if of(0) != of(1) {
		t.Error("two that are alike have settings of their own")
	}
	if of(0) == of(2) || of(2).timeouts.tcp[tcpFinWait] != 60*ticksPerSecond || of(0).timeouts.tcp[tcpFinWait] != 120*ticksPerSecond {
		t.Error("two that differ share their settings")
	}

	cfg.Services = append([]Service(nil), services...)
	cfg.Services[1].OnePacket, cfg.Services[1].Protocol = true, UDP
	cfg.Interfaces, cfg.Env = r.b.cfg.Interfaces, r.b.cfg.Env
	services[1] = cfg.Services[1]
	if err := r.b.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	if of(0).onePacket || !of(1).onePacket {
		t.Errorf("after a change of one, one packet: %v and %v, want false and true", of(0).onePacket, of(1).onePacket)
	}
}
