package dataplane

// How entries of the table end, and how their timers are filed.

// dueLocked examines a connection at the tick that it is filed under: it may have been
// prolonged, or be a template that still controls connections; else it ends.
func (p *Plane) dueLocked(sh *shard, c uint32, now Tick) {
	e, cold := &p.table.conns[c], &p.table.cold[c]
	sh.unfile(p.table, c)
	if now.before(e.deadline()) {
		p.fileLocked(sh, c)
		return
	}
	if cold.controls.Load() > 0 {
		if p.table.isTemplate(c) {
			cold.rearmOrBegin.Store(uint32(templateStep))
		}
		e.rearm(now + templateStep)
		sh.file(p.table, c, now+templateStep)
		return
	}
	p.releaseLocked(c)
}

// releaseLocked ends a connection that is in no wheel: takes it out of the index,
// uncounts it at its server and template, and frees its number.
func (p *Plane) releaseLocked(c uint32) {
	s, m := p.unlinkLocked(c)
	s.unbind(p.table.isTemplate(c), m.has(flagInactive))
}

// unlinkLocked is releaseLocked without uncounting the connection at its server.
func (p *Plane) unlinkLocked(c uint32) (*Server, meta) {
	e, cold := &p.table.conns[c], &p.table.cold[c]
	m := e.load()
	for !e.swap(m, m&^flagLive) {
		m = e.load()
	}
	s := p.servers.get(m.server())
	p.table.removeLocked(c, m, s)
	switch {
	case m.has(flagFTP):
		p.ftp.drop(m.id(c))
	case connKind(e.ports.Load()) == kindExpected:
		p.ftp.expected.Add(-1)
	}
	if t := cold.template.Load(); t != 0 {
		p.table.cold[t].controls.Add(-1)
	}
	p.table.freeLocked(p.table.shardOf(c), c)
	if p.hooks.OnConnection != nil && connKind(e.ports.Load()) == kindConn {
		p.notifyConnection(ConnEnded, c, m)
	}
	return s, m
}

// delete ends a connection before its time. A template that controlled no other
// connection goes too, unless it has one of the flags in keep (ip_vs_conn_del).
func (p *Plane) delete(id connID, keep meta) {
	if t, m := p.deleteOne(id); t != (connID{}) && !m.has(keep) {
		p.deleteOne(t)
	}
}

// deleteOne ends one entry before its time, but for one that controls others. It returns
// the template that controlled it, if any, and the template's state.
func (p *Plane) deleteOne(id connID) (template connID, m meta) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.detachLocked(sh, id) {
		return connID{}, 0
	}
	if t := p.table.cold[id.index].template.Load(); t != 0 {
		m = p.table.conns[t].load() // valid as long as the connection exists
		template = m.id(t)
	}
	p.releaseLocked(id.index)
	return template, m
}

// exists reports whether a connection has not ended.
func (p *Plane) exists(id connID) bool { return p.table.conns[id.index].load().is(id) }

// detachLocked takes a connection out of the wheel of sh, unless it has ended or controls
// others; releaseLocked or unlinkLocked must follow.
func (p *Plane) detachLocked(sh *shard, id connID) bool {
	if !p.exists(id) || p.table.cold[id.index].controls.Load() > 0 {
		return false
	}
	sh.unfile(p.table, id.index)
	return true
}

// invalidate takes a template out of the index, so that no new connection finds it; its
// timer runs on (ip_vs_check_template).
func (p *Plane) invalidate(id connID) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := &p.table.conns[id.index]
	for m := e.load(); m.is(id) && !m.has(flagOrphan); m = e.load() {
		if e.swap(m, m|flagOrphan) {
			k := p.table.key(id.index)
			p.table.unlink(k.hash(&p.table.secret), makeIndexRef(id.index, false))
			return
		}
	}
}

// addControlledAndRearm counts one more connection that a template controls, and restarts
// the template's timer, one tick longer than its timeout: a connection with the same
// timeout then ends first and does not delay the template. It fails where the template
// has ended.
func (p *Plane) addControlledAndRearm(id connID, now Tick) bool {
	cold := &p.table.cold[id.index]
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.exists(id) {
		return false
	}
	cold.controls.Add(1)
	e := &p.table.conns[id.index]
	if end := now + Tick(cold.rearmOrBegin.Load()) + 1; e.deadline().before(end) { // a slower worker's clock must not shorten it
		e.rearm(end)
	}
	return true
}

// refile moves a connection to an earlier slot of the wheel.
func (p *Plane) refile(id connID) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p.exists(id) {
		sh.unfile(p.table, id.index)
		p.fileLocked(sh, id.index)
	}
}

// fileLocked enters a connection into the wheel by its deadline. update writes a shorter
// deadline and then reads the tick that the connection is filed under; here the order is
// the reverse, so that at least one of the two sees what the other wrote.
func (p *Plane) fileLocked(sh *shard, c uint32) {
	e := &p.table.conns[c]
	for {
		end := e.deadline()
		sh.file(p.table, c, end)
		if !e.deadline().before(end) {
			return
		}
		sh.unfile(p.table, c)
	}
}
