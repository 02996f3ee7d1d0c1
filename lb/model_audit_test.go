package lb

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/forward"
)

// compare says where the engine's table and counts differ from the model's.
func (m *model) compare(r *rig) error {
	var got, want []string
	t := r.b.table
	for c := uint32(1); c < t.used(); c++ {
		if t.conns[c].load().has(flagLive) {
			got = append(got, describeEntry(r, c))
		}
	}
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
		ref := r.find(c.modelFlow)
		if ref == 0 {
			return fmt.Errorf("no entry for %s", c.describe())
		}
		if got, want := describeEntry(r, ref.conn()), c.describe(); got != want {
			return fmt.Errorf("entry:\n%s\nwant:\n%s", got, want)
		}
	}
	return m.compareServers(r)
}

// find looks a flow up as its packets are.
func (r *rig) find(f modelFlow) ref {
	t := tuple{
		src: forward.AddrFrom(f.client.Addr()), dst: forward.AddrFrom(f.vip.Addr()),
		srcPort: f.client.Port(), dstPort: f.vip.Port(), proto: f.proto,
	}
	key := t.words()
	found, _ := r.b.table.find(&key, key.hash(r.b.table.seed), r.b.servers.all())
	return found
}

func (m *model) compareServers(r *rig) error {
	if got, want := r.b.table.inUse(), int64(m.count()); got != want {
		return fmt.Errorf("%d entries in use, want %d", got, want)
	}
	known := map[modelServerKey]bool{}
	for _, s := range r.b.servers.all() {
		if s == nil {
			continue
		}
		k := modelServerKey{slices.IndexFunc(modelServices, func(v modelService) bool { return v.id() == s.service.id }), s.addrPort()}
		if known[k] {
			return fmt.Errorf("server %v of %s is there twice", k.addr, s.service.id)
		}
		known[k] = true
		got := fmt.Sprintf("active %d inactive %d templates %d overloaded %v gone %v",
			s.Server.Active(), s.Inactive(), s.templates.Load(), s.Overloaded(), s.Gone())
		want := "active 0 inactive 0 templates 0 overloaded false gone true"
		if d := m.servers[k]; d != nil {
			want = fmt.Sprintf("active %d inactive %d templates %d overloaded %v gone %v", d.active, d.inactive, d.templates, d.overload, !d.available)
		}
		if got != want {
			return fmt.Errorf("server %v of %s: %s\nwant %s", k.addr, s.service.id, got, want)
		}
	}
	for k, d := range m.servers {
		if !known[k] && (d.available || d.active+d.inactive+d.templates > 0) {
			return fmt.Errorf("server %v of %s is lost", k.addr, modelServices[k.service].id())
		}
	}
	return nil
}

func (c *modelConn) describe() string {
	state := "UDP"
	if c.proto == TCP {
		state = tcpNames[slices.Index(modelStates, c.state)]
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
		t.name(), t.server.addr, t.controls, t.assured, t.void, t.end, t.timeout)
}

func describeEntry(r *rig, c uint32) string {
	t := r.b.table
	e, cold := &t.conns[c], &t.cold[c]
	m, key := e.load(), t.key(c)
	proto := Protocol(key[4] >> 8)
	client, vip := addrPort(key[0], key[1], uint16(key[4]>>48)), addrPort(key[2], key[3], uint16(key[4]>>32))
	server := r.b.servers.get(m.server())
	if t.isTemplate(c) {
		return fmt.Sprintf("template of %s %s: %v, %d connections, assured %v, void %v, till %d, again %d",
			server.service.id, templateName(proto, client.Addr(), vip), server.addrPort(), cold.controls.Load(), m.has(flagAssured), m.has(flagOrphan), e.deadline(), cold.timeout.Load())
	}
	template := ""
	if n := cold.template.Load(); n != 0 {
		tkey := t.key(n)
		template = fmt.Sprintf("of %s %s", server.service.id,
			templateName(Protocol(tkey[4]>>8), addrOf(tkey[0], tkey[1]).Netip(), addrPort(tkey[2], tkey[3], uint16(tkey[4]>>32))))
	}
	return fmt.Sprintf("%v %v %v: %v by %v %s, active %v one way %v assured %v, %d packets, till %d, template %s", proto, client, vip,
		netip.AddrPortFrom(server.address, e.dport()), m.method(), stateName(proto, m.state()), !m.has(flagInactive), m.has(flagNoOutput),
		m.has(flagAssured), timer(e.timer.Load()).packets(), e.deadline(), template)
}

// audit recounts the table: index, wheels, free list, and the counts of servers and
// templates have to agree with the entries.
func (r *rig) audit() error {
	t := r.b.table
	live := map[uint32]bool{}
	counts := map[uint32][3]int64{} // active, inactive, templates by server
	controls := map[uint32]int32{}
	refs := map[ref]uint64{} // by what must be in the index: its hash
	for c := uint32(1); c < t.used(); c++ {
		m := t.conns[c].load()
		if !m.has(flagLive) {
			continue
		}
		live[c] = true
		n := counts[m.server()]
		switch {
		case t.isTemplate(c):
			n[2]++
		case m.has(flagInactive):
			n[1]++
		default:
			n[0]++
		}
		counts[m.server()] = n
		if tm := t.cold[c].template.Load(); tm != 0 {
			controls[tm]++
		}
		if !m.has(flagOrphan) {
			key := t.key(c)
			refs[makeRef(c, false)] = key.hash(t.seed)
		}
		if m.has(flagReply) {
			w := t.replyWords(c, r.b.servers.get(m.server()))
			refs[makeRef(c, true)] = w.hash(t.seed)
		}
	}
	for _, s := range r.b.servers.all() {
		if s == nil {
			continue
		}
		if got := [3]int64{s.Server.Active(), s.Inactive(), s.templates.Load()}; got != counts[s.ID] {
			return fmt.Errorf("server %v counts %d, the table has %d", s.addrPort(), got, counts[s.ID])
		}
	}
	for c := range live {
		if got := t.cold[c].controls.Load(); got != controls[c] {
			return fmt.Errorf("entry %d counts %d connections, the table has %d", c, got, controls[c])
		}
	}
	if got := t.inUse(); got != int64(len(live)) {
		return fmt.Errorf("%d entries in use, the table has %d", got, len(live))
	}
	for _, err := range []error{r.auditIndex(refs), r.auditWheels(live), r.auditFree(live)} {
		if err != nil {
			return err
		}
	}
	return nil
}

// auditIndex wants exactly these refs in the index, each where its hash says.
func (r *rig) auditIndex(refs map[ref]uint64) error {
	t := r.b.table
	found := 0
	check := func(bucket int, at ref, tag uint64, tagged bool) error {
		found++
		hash, ok := refs[at]
		if !ok || t.bucket(hash) != &t.buckets[bucket] || tagged && tag != tagOf(hash) {
			return fmt.Errorf("ref %d (reply %v) in bucket %d: known %v, hash %x", at.conn(), at.reply(), bucket, ok, hash)
		}
		return nil
	}
	for i := range t.buckets {
		b := &t.buckets[i]
		if b.busy.Load() != 0 {
			return fmt.Errorf("bucket %d is locked", i)
		}
		for j := range b.refs {
			if r := ref(b.refs[j].Load()); r != 0 {
				if err := check(i, r, b.tags[j%2].Load()>>(j/2*16)&0xffff, true); err != nil {
					return err
				}
			}
		}
		for at := ref(b.chain.Load()); at != 0; at = t.next(at) {
			if err := check(i, at, 0, false); err != nil {
				return err
			}
			if found > len(refs) {
				break
			}
		}
	}
	if found != len(refs) {
		return fmt.Errorf("%d refs in the index, want %d", found, len(refs))
	}
	return nil
}

// auditWheels wants exactly the live entries in the wheels, each in its shard's,
// once, and, but for a crowd, not to be looked at later than it expires.
func (r *rig) auditWheels(live map[uint32]bool) error {
	t := r.b.table
	seen := map[uint32]bool{}
	for i := range t.shards {
		for _, slots := range t.shards[i].slots {
			for _, c := range slots {
				for ; c != 0; c = t.cold[c].next {
					due, end := tick(t.cold[c].due.Load()), t.conns[c].deadline()
					switch {
					case !live[c]:
						return fmt.Errorf("entry %d, which is not live, is in wheel %d", c, i)
					case seen[c]:
						return fmt.Errorf("entry %d is filed twice", c)
					case t.shardOf(c) != &t.shards[i]:
						return fmt.Errorf("entry %d is in the wrong wheel, %d", c, i)
					case end.before(due) && due != t.shards[i].now+1 && !r.crowd:
						return fmt.Errorf("at %d, entry %d is looked at at %d: %s", t.shards[i].now, c, due, describeEntry(r, c))
					}
					seen[c] = true
				}
			}
		}
	}
	if len(seen) != len(live) {
		return fmt.Errorf("%d entries in the wheels, want %d", len(seen), len(live))
	}
	return nil
}

// auditFree wants every entry that was ever used either live or free.
func (r *rig) auditFree(live map[uint32]bool) error {
	t := r.b.table
	free := map[uint32]bool{}
	for i := range t.shards {
		sh, n := &t.shards[i], 0
		for c := sh.free; c != 0; c = t.cold[c].next {
			if free[c] || live[c] {
				return fmt.Errorf("entry %d is free, and live %v or free twice", c, live[c])
			}
			free[c] = true
			n++
		}
		if int(sh.spare.Load()) != n {
			return fmt.Errorf("shard %d has %d entries free, and counts %d", i, n, sh.spare.Load())
		}
	}
	if got := len(free) + len(live); got != int(t.used())-1 {
		return fmt.Errorf("%d entries free and %d live, of %d ever used", len(free), len(live), t.used()-1)
	}
	return nil
}
