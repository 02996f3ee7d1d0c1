package lb

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// crowdCalls are calls of all methods of Balancer but Run, by name.
func crowdCalls(ctx context.Context, t *testing.T, b *Balancer) map[string]func() {
	// What a change may fail with while others go on; ctx is Run's.
	ok := func(err error) {
		var mistakes ConfigErrors
		if err != nil && !errors.As(err, &mistakes) && !errors.Is(err, ErrNoServer) && !errors.Is(err, ErrNoService) && !errors.Is(err, ErrNoGroup) &&
			!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	// brief is at times too short.
	brief := func(change func(ctx context.Context) error) func() {
		return func() {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.N(20))*time.Millisecond)
			defer cancel()
			ok(change(ctx))
		}
	}
	extra := Service{Name: "extra", VIP: netip.MustParseAddr("192.0.2.82"), Port: 80, Check: Check{Type: "none"}, Servers: []Server{{Address: crowdServer(1)}}}
	return map[string]func(){
		"Apply":         func() { ok(b.Apply(ctx, crowdConfig(rand.N(100)))) },
		"AddService":    brief(func(ctx context.Context) error { return b.AddService(ctx, extra) }),
		"EditService":   brief(func(ctx context.Context) error { return b.EditService(ctx, "extra", extra) }),
		"RemoveService": brief(func(ctx context.Context) error { return b.RemoveService(ctx, "extra") }),
		"AddServer": brief(func(ctx context.Context) error {
			return b.AddServer(ctx, crowdRef().Service, Server{Address: crowdServer(7)})
		}),
		"EditServer": brief(func(ctx context.Context) error {
			return b.EditServer(ctx, crowdRef(), Server{Address: crowdServer(1 + rand.N(8))})
		}),
		"RemoveServer": brief(func(ctx context.Context) error { return b.RemoveServer(ctx, crowdRef()) }),
		"SetRole": brief(func(ctx context.Context) error {
			return b.SetRole(ctx, []string{DefaultGroup, "none"}[rand.N(2)], []Role{RoleActive, RoleStandby}[rand.N(2)])
		}),
		"Announce":          func() { _ = b.Announce(ctx, DefaultGroup) }, // fails while the group is standby
		"SetWeight":         func() { ok(b.SetWeight(crowdRef(), rand.N(3))) },
		"Drain":             func() { ok(b.Drain(crowdRef(), time.Duration(rand.N(2))*time.Second)) },
		"Halt":              func() { ok(b.Halt(crowdRef())) },
		"Activate":          func() { ok(b.Activate(crowdRef())); ok(b.Activate(crowdRef())) },
		"Config":            func() { b.Config() },
		"Roles":             func() { b.Roles() },
		"Workers":           func() { b.Workers() },
		"Stats":             func() { b.Stats() },
		"Health":            func() { b.Health() },
		"Connection":        func() { b.Connection(TCP, crowdClient(1), crowdVIP) },
		"Connections":       func() { b.Connections(func(c Connection) bool { return c.Server.IsValid() }) },
		"DeleteConnections": func() { b.DeleteConnections(ConnectionFilter{Client: crowdClients()}) },
		"DeleteTemplates":   func() { b.DeleteTemplates(ConnectionFilter{Client: crowdClients()}) },
	}
}

// TestEveryMethodIsCalledAtOnce fails for a method that is added to Balancer and not to
// crowdCalls.
func TestEveryMethodIsCalledAtOnce(t *testing.T) {
	calls := crowdCalls(t.Context(), t, nil)
	calls["Run"] = nil
	typ := reflect.TypeFor[*Balancer]()
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		if _, ok := calls[name]; !ok && !testOnly[name] {
			t.Errorf("crowdCalls has no %s", name)
		}
		delete(calls, name)
	}
	for name := range calls {
		t.Errorf("Balancer has no %s", name)
	}
}

// testOnly are the methods that this package's tests add.
var testOnly = map[string]bool{"FTPState": true}

// crowdRef is one of the servers, or none.
func crowdRef() ServerRef {
	return ServerRef{"tcp " + crowdVIP.String(), netip.AddrPortFrom(crowdServer(1+rand.N(7)), crowdVIP.Port()).String()}
}

// crowdClients are a few of the clients.
func crowdClients() netip.Prefix {
	return netip.PrefixFrom(crowdClient(rand.N(200)).Addr(), 30)
}

// slowLink takes up to ten milliseconds for a probe.
type slowLink struct{ rigLink }

func (slowLink) Probe(ctx context.Context, _ ...netip.Addr) error {
	select {
	case <-time.After(time.Duration(rand.N(10)) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
