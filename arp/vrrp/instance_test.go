package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestFaultIsToldTwiceAndEndsAsBackup(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	in := m.in()
	in.SetFault(m.net.now, true)
	in.SetFault(m.net.now, true)
	if want := []string{"v: send 0", "v: send 0", "v: fault, fault"}; !slices.Equal(m.log, want) {
		t.Errorf("%q, want %q", m.log, want)
	}
	if got := b.until(StateMaster); !near(got, 610*time.Millisecond) {
		t.Errorf("the other takes over after %v", got)
	}
	if got := in.Receive(m.net.now, advertBytes(config4(2, 100), 100)); got != ReasonState {
		t.Errorf("an advert in fault: %q", got)
	}
	m.net.run(10 * time.Second)
	if m.count("send") != 2 || !in.Status().Faulty {
		t.Errorf("%q", m.log)
	}
	m.log = nil
	in.SetFault(m.net.now, false)
	if got := m.until(StateMaster); !near(got, 3414*time.Millisecond) {
		t.Errorf("preempts %v after the repair", got)
	}
	if m.log[0] != "v: backup, fault repaired" || m.count("announce") != 5 {
		t.Errorf("%q", m.log)
	}
}

func advertBytes(c Config, priority uint8) []byte {
	a := advertOf(c, priority)
	return a.Append(nil)
}

func TestFaultBeforeStart(t *testing.T) {
	n := newNetwork()
	x := n.add(config4(1, 150))
	r, err := NewRouter(x, x.cfgs...)
	if err != nil {
		t.Fatal(err)
	}
	x.router, x.up = r, true
	r.Instances()[0].SetFault(n.now, true)
	r.Start(n.now)
	n.run(10 * time.Second)
	if want := []string{"v: fault, started"}; !slices.Equal(x.log, want) {
		t.Errorf("%q, want %q", x.log, want)
	}
}

func TestOwnerIsMasterAtOnceAfterAFault(t *testing.T) {
	c := config4(1, 255)
	c.StartMaster = true
	x := newNetwork().add(c).start(t)
	x.in().SetFault(x.net.now, true)
	x.in().SetFault(x.net.now, false)
	if !x.master() {
		t.Errorf("%s", x.in().State())
	}
}

// TestUnicastAnnouncesItselfAfterAFault: else adverts wait for the peers' neighbor
// tables.
func TestUnicastAnnouncesItselfAfterAFault(t *testing.T) {
	c := config4(1, 150)
	c.Peers = []Peer{{Addr: netip.MustParseAddr("192.0.2.2")}}
	x := newNetwork().add(c).start(t)
	x.in().SetFault(x.net.now, true)
	x.log = nil
	x.in().SetFault(x.net.now, false)
	if want := []string{"v: backup, fault repaired", "v: announce 192.0.2.1"}; !slices.Equal(x.log, want) {
		t.Errorf("%q, want %q", x.log, want)
	}
}

func TestSetPriority(t *testing.T) {
	for _, c := range []struct {
		name     string
		base     uint8
		delayed  bool
		priority int
		want     uint8
		sent     int // adverts at once
	}{
		{"lower", 150, false, 80, 80, 1},
		{"the same", 150, false, 150, 150, 0},
		{"too low", 150, false, -20, 1, 1},
		{"too high", 150, false, 400, 254, 1},
		{"owner", 255, false, 80, 255, 0},
		{"as keepalived", 150, true, 80, 80, 0},
	} {
		cfg := config4(1, c.base)
		cfg.Keepalived.LatePriority = c.delayed
		m, _ := pair(t, cfg, config4(2, 100))
		m.in().SetPriority(m.net.now, c.priority)
		if len(m.sent) != c.sent {
			t.Errorf("%s: %d adverts at once, want %d", c.name, len(m.sent), c.sent)
		}
		m.net.run(time.Second)
		if got := m.sent[0].Priority; got != c.want {
			t.Errorf("%s: sends %d, want %d", c.name, got, c.want)
		}
	}
}

func TestReleaseLeavesTheRoleToAnyMaster(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.in().Release(m.net.now)
	if want := []string{"v: send 0", "v: backup, by order"}; !slices.Equal(m.log, want) {
		t.Errorf("%q, want %q", m.log, want)
	}
	m.net.run(20 * time.Second)
	if !b.master() || m.master() {
		t.Fatalf("%s and %s, want backup and master", m.in().State(), b.in().State())
	}
	b.crash()
	if got := m.until(StateMaster); got > 3500*time.Millisecond {
		t.Errorf("takes over %v after a crash", got)
	}
	b.start(t)
	m.net.run(20 * time.Second)
	if !m.master() {
		t.Error("gives way for good")
	}
}

func TestReleaseAloneIsMasterAgain(t *testing.T) {
	x := newNetwork().add(config4(1, 150)).start(t)
	x.until(StateMaster)
	x.in().Release(x.net.now)
	if got := x.until(StateMaster); !near(got, 3414*time.Millisecond) {
		t.Errorf("after %v", got)
	}
}

func TestReleaseOfAnOwner(t *testing.T) {
	c := config4(1, 255)
	c.StartMaster = true
	x := newNetwork().add(c).start(t)
	x.in().Release(x.net.now)
	if got := x.until(StateMaster); !near(got, 3004*time.Millisecond) {
		t.Errorf("master again after %v", got)
	}
}

func TestTakeOverAtOnce(t *testing.T) {
	c := config4(1, 100)
	c.NoPreempt = true
	m, b := pair(t, c, config4(2, 200-100))
	b.in().SetPriority(b.net.now, 254)
	b.in().TakeOver(b.net.now)
	if !b.master() || b.log[0] != "v: send 254" || b.log[1] != "v: master, by order" {
		t.Errorf("%q", b.log)
	}
	if got := m.until(StateBackup); !near(got, time.Millisecond) {
		t.Errorf("the other steps back after %v", got)
	}
	m.net.run(time.Second)
	b.in().SetPriority(b.net.now, 50)
	m.net.run(20 * time.Second)
	if !b.master() || m.master() {
		t.Error("the role does not stay")
	}
}

func TestReconfigureKeepsTheRole(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	c := m.cfgs[0]
	c.Addresses = append(c.Addresses, netip.MustParseAddr("192.0.2.101"))
	if err := m.in().Reconfigure(m.net.now, c); err != nil {
		t.Fatal(err)
	}
	if !m.master() || len(m.sent) != 1 || len(m.sent[0].Addresses) != 2 || m.count("announce 192.0.2.101") != 5 {
		t.Errorf("%s, %q", m.in().State(), m.log)
	}
	m.log, m.sent = nil, nil
	c.Priority, c.Interval = 120, 2*time.Second
	if err := m.in().Reconfigure(m.net.now, c); err != nil {
		t.Fatal(err)
	}
	if !m.master() || len(m.sent) != 1 || m.sent[0].Priority != 120 || m.count("announce") != 0 {
		t.Errorf("%s, %q", m.in().State(), m.log)
	}
	c.VRID = 9
	if err := m.in().Reconfigure(m.net.now, c); err == nil || err.Error() != "vrrp: v: VRID 9: cannot be changed, is 51" {
		t.Errorf("%v", err)
	}
	c.VRID, c.DownAdverts = 51, -1
	if err := m.in().Reconfigure(m.net.now, c); err == nil {
		t.Error("takes a wrong configuration")
	}
	m.sent = nil
	m.net.run(10 * time.Second)
	if len(m.sent) != 5 || b.in().Stats().Dropped[ReasonInterval] == 0 {
		t.Errorf("%d adverts in 10 s; the other drops %v", len(m.sent), b.in().Stats().Dropped)
	}
}

func TestShutdownAndStartAgain(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.in().Shutdown(m.net.now)
	m.in().Shutdown(m.net.now)
	if want := []string{"v: send 0", "v: initialize, shut down"}; !slices.Equal(m.log, want) {
		t.Errorf("%q, want %q", m.log, want)
	}
	if !m.in().Deadline().IsZero() {
		t.Errorf("deadline %v", m.in().Deadline())
	}
	b.in().SetFault(m.net.now, true)
	b.log = nil
	b.in().Shutdown(m.net.now)
	if want := []string{"v: initialize, shut down"}; !slices.Equal(b.log, want) {
		t.Errorf("%q, want %q", b.log, want)
	}
	m.in().Start(m.net.now)
	if m.in().State() != StateBackup {
		t.Errorf("%s", m.in().State())
	}
}

func TestIPIDSkipsZero(t *testing.T) {
	m, _ := pair(t, config4(1, 150), config4(2, 100))
	m.in().ipID = 0xfffe
	m.net.run(2100 * time.Millisecond)
	if m.sent[0].ID != 0xffff || m.sent[1].ID != 1 {
		t.Errorf("%d, %d", m.sent[0].ID, m.sent[1].ID)
	}
}

func TestTimeThatGoesBackIsIgnored(t *testing.T) {
	m, _ := pair(t, config4(1, 150), config4(2, 100))
	deadline := m.in().Deadline()
	m.in().Tick(m.net.now.Add(-time.Hour))
	m.in().Receive(m.net.now.Add(-time.Hour), advertBytes(config4(2, 100), 100))
	if got := m.in().Deadline(); got.Before(deadline) || got.Sub(deadline) > time.Second {
		t.Errorf("deadline %v, was %v", got, deadline)
	}
}

func TestStatusAndStats(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.net.run(time.Second)
	s := b.in().Status()
	if s.State != StateBackup || s.Master != m.cfgs[0].Source || s.MasterPriority != 150 || s.MasterInterval != time.Second ||
		b.net.now.Sub(s.MasterHeard) > time.Second || s.Priority != 100 || s.Checksum != ChecksumPseudo {
		t.Errorf("%+v", s)
	}
	m.stop()
	b.until(StateMaster)
	if got := m.in().Stats(); got.Sent < 3 || got.SentZero != 1 || got.BecameMaster != 1 || got.LeftMaster != 1 || got.Announced != 5 {
		t.Errorf("%+v", got)
	}
	if got := b.in().Stats(); got.Received < 2 || got.ReceivedZero != 1 || got.BecameMaster != 1 || got.LeftMaster != 0 {
		t.Errorf("%+v", got)
	}
	b.in().Stats().Dropped[ReasonTTL] = 9
	if got := b.in().Stats().Dropped[ReasonTTL]; got != 0 {
		t.Errorf("counters can be written from outside: %d", got)
	}
	if b.in().VirtualMAC() != [6]byte{0, 0, 0x5e, 0, 1, 51} || VirtualMAC(9, true) != [6]byte{0, 0, 0x5e, 0, 2, 9} {
		t.Error("virtual MAC")
	}
}

// TestStoppedMasterStepsBack is SIGSTOP for 6 s. keepalived stays master, and floods the
// network with announcements.
func TestStoppedMasterStepsBack(t *testing.T) {
	for _, lost := range []bool{false, true} { // what arrived meanwhile
		m, b := pair(t, config4(1, 150), config4(2, 100))
		m.paused, m.lostQueue = true, lost
		b.until(StateMaster)
		m.net.run(2500 * time.Millisecond)
		m.resume()
		if m.log[0] != "v: backup, the process was stopped" || len(m.sent) > 0 || m.reported(EventPaused) != 1 {
			t.Errorf("packets lost %t: %q", lost, m.log)
		}
		if got := m.until(StateMaster); !near(got, 3414*time.Millisecond) {
			t.Errorf("packets lost %t: preempts %v after it goes on", lost, got)
		}
	}
}

func TestStoppedMasterThatIsAloneIsSoonBack(t *testing.T) {
	x := newNetwork().add(config4(1, 100)).start(t)
	x.until(StateMaster)
	x.paused = true
	x.net.run(time.Hour)
	x.resume()
	if got := x.until(StateMaster); !near(got, 2109*time.Millisecond) {
		t.Errorf("after %v", got)
	}
}

func TestShortPauseIsNothing(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.net.run(500 * time.Millisecond)
	m.paused = true
	m.net.run(2400 * time.Millisecond)
	m.resume()
	m.net.run(5 * time.Second)
	if !m.master() || b.in().Stats().BecameMaster != 0 {
		t.Errorf("%s and %s", m.in().State(), b.in().State())
	}
}

// TestStoppedBackupListensFirst: its timer ended long ago, yet the master is there.
func TestStoppedBackupListensFirst(t *testing.T) {
	for _, lost := range []bool{false, true} {
		m, b := pair(t, config4(1, 150), config4(2, 100))
		b.paused, b.lostQueue = true, lost
		m.net.run(10*time.Second + 500*time.Millisecond)
		b.resume()
		m.net.run(5 * time.Second)
		if b.in().Stats().BecameMaster != 0 {
			t.Errorf("packets lost %t: %q", lost, b.log)
		}
	}
}

func TestStoppedBackupTakesOverWhereNobodyIs(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	b.paused = true
	m.crash()
	m.net.run(10 * time.Second)
	b.resume()
	// Pauses while it listens count only when they are long.
	b.paused = true
	m.net.run(2900 * time.Millisecond)
	b.resume()
	if !b.master() {
		t.Errorf("%s: %q", b.in().State(), b.log)
	}
}

func TestPauseIsIgnoredAsKeepalived(t *testing.T) {
	c := config4(1, 150)
	c.Keepalived.IgnorePause = true
	m, b := pair(t, c, config4(2, 100))
	m.paused = true
	b.until(StateMaster)
	m.net.run(2500 * time.Millisecond)
	m.resume()
	if !m.master() || len(m.sent) == 0 {
		t.Errorf("%q", m.log)
	}
}

// TestStoppedBackupHearsThatTheMasterLeaves while it listens: then it need not listen
// longer than its skew time, whoever else is there.
func TestStoppedBackupHearsThatTheMasterLeaves(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	b.paused, b.lostQueue = true, true
	m.net.run(5*time.Second + 500*time.Millisecond)
	b.resume()
	m.in().Shutdown(m.net.now)
	m.up = false
	m.net.run(2 * time.Millisecond)
	b.receive(advertBytes(config4(3, 50), 50))
	if got := b.until(StateMaster); !near(got, 610*time.Millisecond) {
		t.Errorf("after %v", got)
	}
}

// TestStoppedBackupListensEachTime: having heard somebody ends the first time.
func TestStoppedBackupListensEachTime(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.crash()
	pause := func(d time.Duration) {
		b.paused = true
		b.net.run(d)
		b.resume()
	}
	pause(10 * time.Second)
	b.receive(advertBytes(config4(3, 50), 50))
	pause(5 * time.Second) // 1.4 s longer than its timer
	if b.master() {
		t.Error("takes over without listening")
	}
}

func TestStartAndReleaseTwiceDoNothing(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.in().Start(m.net.now)
	b.in().Release(b.net.now)
	m.in().TakeOver(m.net.now)
	if len(m.log) > 0 || len(b.log) > 0 || b.in().released {
		t.Errorf("%q, %q", m.log, b.log)
	}
}

func TestReconfigureForgetsLearnedChecksums(t *testing.T) {
	c := config4(1, 100)
	c.Version = 3
	x := newNetwork().add(c).start(t)
	a := advertOf(c, 50)
	a.Src, a.Checksum = netip.MustParseAddr("192.0.2.2"), ChecksumPlain
	x.in().Receive(x.net.now, a.Append(nil))
	c = x.in().Config()
	if err := x.in().Reconfigure(x.net.now, c); err != nil || x.in().Status().Checksum != ChecksumPlain {
		t.Errorf("%v, %+v", err, x.in().Status())
	}
	c.Checksum = ChecksumPseudo
	if err := x.in().Reconfigure(x.net.now, c); err != nil || x.in().Status().Checksum != ChecksumPseudo {
		t.Errorf("%v, %+v", err, x.in().Status())
	}
}

// TestLearnedChecksumIsOfPeers: who is none changes nothing, though its adverts are
// taken.
func TestLearnedChecksumIsOfPeers(t *testing.T) {
	c := config4(1, 100)
	c.Version, c.Peers, c.Keepalived.AnySource = 3, []Peer{{Addr: netip.MustParseAddr("192.0.2.2")}}, true
	x := newNetwork().add(c).start(t)
	a := advertOf(c, 50)
	a.Src, a.Dst, a.Checksum = netip.MustParseAddr("192.0.2.3"), c.Source, ChecksumPlain
	if got := x.in().Receive(x.net.now, a.Append(nil)); got != ReasonNone || len(x.in().checksums) > 0 {
		t.Errorf("%q, %v", got, x.in().checksums)
	}
}

func TestStatesCausesAndChecksumsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	check := func(kind, name string) {
		if seen[kind+name] {
			t.Errorf("%s %q is there twice", kind, name)
		}
		seen[kind+name] = true
	}
	for s := StateInitialize; s <= StateFault+1; s++ {
		check("state", s.String())
	}
	for c := CauseStart; c <= CauseShutdown+1; c++ {
		check("cause", c.String())
	}
	for c := ChecksumUnknown; c <= ChecksumPseudoMulticast; c++ {
		check("checksum", c.String())
	}
}
