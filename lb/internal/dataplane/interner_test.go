package dataplane

import (
	"testing"
	"time"
)

func TestServicesWithEqualSettingsShareThem(t *testing.T) {
	r := newTestPlane(t, 1<<10, 0)
	a, b, c := r.NewService("a", 80, false), r.NewService("b", 81, false), r.NewService("c", 82, false)
	a.Configure(ServiceConfig{})
	b.Configure(ServiceConfig{})
	c.Configure(ServiceConfig{Timeouts: []Timeouts{{FinWait: time.Minute}}})
	if a.settings.Load() != b.settings.Load() {
		t.Error("two with equal settings have settings of their own")
	}
	if c.settings.Load() == a.settings.Load() || c.settings.Load().timeouts.tcp[tcpFinWait] != 60*TicksPerSecond {
		t.Error("two whose settings differ share them")
	}
	b.Configure(ServiceConfig{OnePacket: true})
	if a.settings.Load().onePacket || !b.settings.Load().onePacket {
		t.Error("a change of one service changed another")
	}
}

func TestSettingsThatNoServiceHasAreForgotten(t *testing.T) {
	r := newTestPlane(t, 1<<10, 0)
	v := r.NewService("a", 80, false)
	for i := range 100 {
		v.Configure(ServiceConfig{Rate: uint32(i)})
	}
	snap := NewSnapshot(Settings{})
	snap.all[v] = struct{}{}
	r.Publish(snap)
	if n := len(r.interner.settings); n != 1 {
		t.Errorf("%d settings are kept, want 1", n)
	}
}
