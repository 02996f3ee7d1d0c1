package lb

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb/internal/dataplane"
)

// compare says where the engine's table and counts differ from the model's.
func (m *model) compare(r *rig) error {
	var got, want []string
	r.b.plane.Entries(func(e *dataplane.Entry) bool {
		got = append(got, describeEntry(r, e))
		return true
	})
	for _, c := range m.conns {
		want = append(want, c.describe())
	}
	for tm := range m.allTemplates() {
		want = append(want, tm.describe())
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		return fmt.Errorf("table (-want +got):\n%s", d)
	}
	return m.compareServers(r)
}

// compareTouched is compare for the connection of the last packet, and all counts.
func (m *model) compareTouched(r *rig) error {
	if c := m.touched; c != nil {
		e, ok := r.b.plane.Entry(uint8(c.proto), c.client, c.vip)
		if !ok {
			return fmt.Errorf("no entry for %s", c.describe())
		}
		if got, want := describeEntry(r, &e), c.describe(); got != want {
			return fmt.Errorf("entry:\n%s\nwant:\n%s", got, want)
		}
	}
	return m.compareServers(r)
}

// serverRef names the server to a balancer.
func (d *modelServer) serverRef() ServerRef {
	return ServerRef{modelServices[d.service].id(), d.addr.String()}
}

func (m *model) compareServers(r *rig) error {
	if got, want := r.b.plane.InUse(), m.count(); got != want {
		return fmt.Errorf("%d entries in use, want %d", got, want)
	}
	visited := map[modelServerKey]bool{}
	for _, s := range r.b.plane.Servers() {
		id, addr, c := s.Service().ID(), s.AddrPort(), s.Counters()
		k := modelServerKey{slices.IndexFunc(modelServices, func(v modelService) bool { return v.id() == id }), addr}
		if visited[k] {
			return fmt.Errorf("server %v of %s is there twice", addr, id)
		}
		visited[k] = true
		got := fmt.Sprintf("active %d inactive %d templates %d overloaded %v gone %v",
			c.Active, c.Inactive, c.Templates, s.Overloaded(), s.Gone())
		want := "active 0 inactive 0 templates 0 overloaded false gone true"
		if d := m.servers[k]; d != nil {
			want = fmt.Sprintf("active %d inactive %d templates %d overloaded %v gone %v", d.active, d.inactive, d.templates, d.overload, !d.available)
		}
		if got != want {
			return fmt.Errorf("server %v of %s: %s\nwant %s", addr, id, got, want)
		}
	}
	for k, d := range m.servers {
		if !visited[k] && (d.available || d.active+d.inactive+d.templates > 0) {
			return fmt.Errorf("server %v of %s is lost", k.addr, modelServices[k.service].id())
		}
	}
	return nil
}

func (c *modelConn) describe() string {
	state := "UDP"
	if c.proto == TCP {
		state = modelStateNames[slices.Index(modelStates, c.state)]
	}
	template := ""
	if c.template != nil {
		template = c.template.name()
	}
	return fmt.Sprintf("%v %v %v: %v by %v %s, active %v one way %v assured %v, %d packets, till %d, template %s", c.proto, c.client, c.vip,
		netip.AddrPortFrom(c.server.addr.Addr(), c.port), c.method, state, c.active, c.oneWay, c.assured, c.packets, c.end, template)
}

func (t *modelTemplate) name() string {
	return fmt.Sprintf("of %s %s", modelServices[t.service].id(), templateName(t.proto, t.client, t.vip))
}

func templateName(proto Protocol, client netip.Addr, vip netip.AddrPort) string {
	if proto == 0 {
		return fmt.Sprintf("mark %v", client)
	}
	return fmt.Sprintf("%v %v %v", proto, client, vip)
}

func (t *modelTemplate) describe() string {
	return fmt.Sprintf("template %s: %v, %d connections, assured %v, void %v, till %d, again %d",
		t.name(), t.server.addr, t.controls, t.assured, t.invalid, t.end, t.timeout)
}

func describeEntry(r *rig, e *dataplane.Entry) string {
	id := e.Service().ID()
	if e.Template {
		return fmt.Sprintf("template of %s %s: %v, %d connections, assured %v, void %v, till %d, again %d",
			id, templateName(Protocol(e.Proto), e.Client.Addr(), e.VIP), e.Server.AddrPort(), e.Controls, e.Assured, e.Orphan, e.Deadline(), e.Rearm())
	}
	template := ""
	if t, ok := r.b.plane.Controller(e); ok {
		template = fmt.Sprintf("of %s %s", id, templateName(Protocol(t.Proto), t.Client.Addr(), t.VIP))
	}
	return fmt.Sprintf("%v %v %v: %v by %v %s, active %v one way %v assured %v, %d packets, till %d, template %s", Protocol(e.Proto), e.Client, e.VIP,
		netip.AddrPortFrom(e.Server.AddrPort().Addr(), e.ServerPort), Method(e.Method), e.State, !e.Inactive, e.OneWay, e.Assured, e.Packets, e.Deadline(), template)
}

// audit recounts the table.
func (r *rig) audit() error { return r.b.plane.Audit(r.crowd) }
