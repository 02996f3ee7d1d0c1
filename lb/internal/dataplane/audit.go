package dataplane

import "fmt"

// Audit recounts the table: index, wheels, free list, and the counts of servers and
// templates have to agree with the entries. It takes no lock: nothing else may use the
// plane during the call. allowOverdue allows entries to be examined after their deadline, as they may
// be where several workers have used them at once (see update).
func (p *Plane) Audit(allowOverdue bool) error {
	a := auditor{
		plane: p, table: p.table, allowOverdue: allowOverdue, live: map[uint32]bool{},
		counts: map[uint32][3]int64{}, controls: map[uint32]int32{}, refs: map[indexRef]uint64{},
	}
	a.readEntries()
	for _, check := range []func() error{a.checkCounts, a.checkIndex, a.checkWheels, a.checkFree} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// auditor is the sums over all entries.
type auditor struct {
	plane        *Plane
	table        *table
	allowOverdue bool
	live         map[uint32]bool
	counts       map[uint32][3]int64 // active, inactive, templates by server
	controls     map[uint32]int32
	refs         map[indexRef]uint64 // by what must be in the index: its hash
}

func (a *auditor) readEntries() {
	t := a.table
	for c := uint32(1); c < t.used(); c++ {
		m := t.conns[c].load()
		if !m.has(flagLive) {
			continue
		}
		a.live[c] = true
		n := a.counts[m.server()]
		switch {
		case t.isTemplate(c):
			n[2]++
		case m.has(flagInactive):
			n[1]++
		default:
			n[0]++
		}
		a.counts[m.server()] = n
		if tm := t.cold[c].template.Load(); tm != 0 {
			a.controls[tm]++
		}
		if !m.has(flagOrphan) {
			k := t.key(c)
			a.refs[makeIndexRef(c, false)] = k.hash(&t.secret)
		}
		if m.has(flagReply) {
			k := t.replyKey(c, a.plane.servers.get(m.server()))
			a.refs[makeIndexRef(c, true)] = k.hash(&t.secret)
		}
	}
}

func (a *auditor) checkCounts() error {
	for _, s := range a.plane.servers.all() {
		if s == nil {
			continue
		}
		if got := [3]int64{s.Active(), s.Inactive(), s.templates.Load()}; got != a.counts[s.ID] {
			return fmt.Errorf("server %v counts %d, the table has %d", s.AddrPort(), got, a.counts[s.ID])
		}
	}
	for c := range a.live {
		if got := a.table.cold[c].controls.Load(); got != a.controls[c] {
			return fmt.Errorf("entry %d counts %d connections, the table has %d", c, got, a.controls[c])
		}
	}
	if got := a.table.inUse(); got != int64(len(a.live)) {
		return fmt.Errorf("%d entries in use, the table has %d", got, len(a.live))
	}
	return nil
}

// checkIndex wants exactly the refs in the index, each where its hash says.
func (a *auditor) checkIndex() error {
	t, found := a.table, 0
	check := func(bucket int, at indexRef, tag uint64, tagged bool) error {
		found++
		hash, ok := a.refs[at]
		if !ok || t.bucket(hash) != &t.buckets[bucket] || tagged && tag != tagOf(hash) {
			return fmt.Errorf("ref %d (reply %v) in bucket %d: in the table %v, hash %x", at.conn(), at.reply(), bucket, ok, hash)
		}
		return nil
	}
	for i := range t.buckets {
		b := &t.buckets[i]
		if b.busy.Load() != 0 {
			return fmt.Errorf("bucket %d is locked", i)
		}
		for j := range b.refs {
			if r := indexRef(b.refs[j].Load()); r != 0 {
				if err := check(i, r, b.tags[j%2].Load()>>(j/2*16)&0xffff, true); err != nil {
					return err
				}
			}
		}
		for at := indexRef(b.chain.Load()); at != 0; at = t.next(at) {
			if err := check(i, at, 0, false); err != nil {
				return err
			}
			if found > len(a.refs) {
				break
			}
		}
	}
	if found != len(a.refs) {
		return fmt.Errorf("%d refs in the index, want %d", found, len(a.refs))
	}
	return nil
}

// checkWheels wants exactly the live entries in the wheels, each in its shard's, once,
// and not to be examined later than it expires.
func (a *auditor) checkWheels() error {
	t, seen := a.table, map[uint32]bool{}
	for i := range t.shards {
		sh := &t.shards[i]
		for _, slots := range sh.slots {
			for _, c := range slots {
				for ; c != 0; c = t.cold[c].next {
					due, end := Tick(t.cold[c].due.Load()), t.conns[c].deadline()
					switch {
					case !a.live[c]:
						return fmt.Errorf("entry %d, which is not live, is in wheel %d", c, i)
					case seen[c]:
						return fmt.Errorf("entry %d is filed twice", c)
					case t.shardOf(c) != sh:
						return fmt.Errorf("entry %d is in the wrong wheel, %d", c, i)
					case end.before(due) && due != sh.now+1 && !a.allowOverdue:
						return fmt.Errorf("at %d, entry %d is examined at %d, and ends at %d", sh.now, c, due, end)
					}
					seen[c] = true
				}
			}
		}
	}
	if len(seen) != len(a.live) {
		return fmt.Errorf("%d entries in the wheels, want %d", len(seen), len(a.live))
	}
	return nil
}

// checkFree wants every entry that was ever used either live or free.
func (a *auditor) checkFree() error {
	t, free := a.table, map[uint32]bool{}
	for i := range t.shards {
		sh, n := &t.shards[i], 0
		for c := sh.freeList; c != 0; c = t.cold[c].next {
			if free[c] || a.live[c] {
				return fmt.Errorf("entry %d is free, and live %v or free twice", c, a.live[c])
			}
			free[c] = true
			n++
		}
		if int(sh.freeCount.Load()) != n {
			return fmt.Errorf("shard %d has %d entries free, and counts %d", i, n, sh.freeCount.Load())
		}
	}
	if got := len(free) + len(a.live); got != int(t.used())-1 {
		return fmt.Errorf("%d entries free and %d live, of %d ever used", len(free), len(a.live), t.used()-1)
	}
	return nil
}

// FTPState is how many FTP control connections and expectations are known.
func (p *Plane) FTPState() (controls, expected int) {
	p.ftp.mu.Lock()
	defer p.ftp.mu.Unlock()
	return len(p.ftp.controls), int(p.ftp.expected.Load())
}
