package vrrp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// near reports whether two durations are the same but for packets that take 1 ms.
func near(a, b time.Duration) bool { return (a - b).Abs() < 5*time.Millisecond }

// until lets time pass until the node has a state, and returns how long that took; -1
// is that it took more than a minute.
func (x *node) until(s State) time.Duration {
	begin := x.net.now
	for x.in().State() != s {
		if x.net.now.Sub(begin) > time.Minute {
			return -1
		}
		if !x.net.step(x.net.now.Add(time.Minute)) {
			return -1
		}
	}
	return x.net.now.Sub(begin)
}

// pair returns a master of one priority and a backup of another.
func pair(t *testing.T, master, backup Config) (m, b *node) {
	t.Helper()
	n := newNetwork()
	m, b = n.add(master), n.add(backup)
	m.start(t)
	m.until(StateMaster)
	b.start(t)
	n.run(1500 * time.Millisecond)
	if !m.master() || b.in().State() != StateBackup {
		t.Fatalf("%s and %s, want master and backup", m.in().State(), b.in().State())
	}
	m.log, b.log, m.sent, b.sent = nil, nil, nil, nil
	return m, b
}

func TestInstanceIsMasterAfterTheMasterDownTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   time.Duration
	}{
		{"priority 100", func(c *Config) {}, 3609 * time.Millisecond},
		{"priority 1", func(c *Config) { c.Priority = 1 }, 3996 * time.Millisecond},
		{"priority 254", func(c *Config) { c.Priority = 254 }, 3008 * time.Millisecond},
		{"start as master, not owner", func(c *Config) { c.StartMaster = true }, 3609 * time.Millisecond},
		{"owner", func(c *Config) { c.Priority = 255 }, 3004 * time.Millisecond},
		{"owner, start as master", func(c *Config) { c.Priority, c.StartMaster = 255, true }, 0},
		{"version 2: skew without interval", func(c *Config) { c.Interval = 2 * time.Second }, 6609 * time.Millisecond},
		{"version 3: skew of interval", func(c *Config) { c.Version, c.Interval = 3, 2*time.Second }, 7219 * time.Millisecond},
		{"version 3, 100 ms", func(c *Config) { c.Version, c.Interval = 3, 100*time.Millisecond }, 361 * time.Millisecond},
		{"two adverts", func(c *Config) { c.DownAdverts = 2 }, 2609 * time.Millisecond},
	} {
		cfg := config4(1, 100)
		c.change(&cfg)
		n := newNetwork()
		if got := n.add(cfg).start(t).until(StateMaster); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTakeoverIsAdvertThenStateThenAnnouncements(t *testing.T) {
	n := newNetwork()
	x := n.add(config4(1, 100)).start(t)
	n.run(10 * time.Second)
	burst := slices.Repeat([]string{"v: announce 192.0.2.100"}, 5)
	want := slices.Concat([]string{"v: backup, started", "v: send 100", "v: master, no adverts heard"}, burst,
		slices.Repeat([]string{"v: send 100"}, 4), burst, slices.Repeat([]string{"v: send 100"}, 2))
	// The second burst is due with the fifth advert, which may be first.
	if i := slices.Index(x.log[8:], "v: announce 192.0.2.100"); i < 4 || i > 5 {
		t.Fatalf("second burst after %d adverts: %q", i, x.log)
	}
	slices.Sort(x.log[8:])
	slices.Sort(want[8:])
	if !slices.Equal(x.log, want) {
		t.Errorf("%q\nwant %q", x.log, want)
	}
}

func TestPriorityZeroLeavesTheSkewTime(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	m.stop()
	if got := b.until(StateMaster); !near(got, 610*time.Millisecond) {
		t.Errorf("%v, want 610ms", got)
	}
	if b.log[1] != "v: master, the master gave up its role" {
		t.Errorf("%q", b.log)
	}
}

func TestCrashIsNoticedAfterTheMasterDownTime(t *testing.T) {
	m, b := pair(t, config4(1, 150), config4(2, 100))
	last := m.in().sent
	m.crash()
	b.until(StateMaster)
	if got := m.net.now.Sub(last); !near(got, 3610*time.Millisecond) {
		t.Errorf("%v after the last advert, want 3.61s", got)
	}
}

func TestHigherPriorityPreemptsAfterItsMasterDownTime(t *testing.T) {
	n := newNetwork()
	b := n.add(config4(2, 100)).start(t)
	b.until(StateMaster)
	n.run(5 * time.Second)
	a := n.add(config4(1, 150)).start(t)
	n.run(2 * time.Second)
	if got := a.in().Status(); got.State != StateBackup || got.Master != b.cfgs[0].Source || got.MasterPriority != 100 {
		t.Errorf("%+v", got)
	}
	if got := a.until(StateMaster); !near(got, 1414*time.Millisecond) {
		t.Errorf("%v, want 3.414s", 2*time.Second+got)
	}
	if !slices.Contains(a.log, "v: master, the master has a lower priority") {
		t.Errorf("%q", a.log)
	}
	if got := b.until(StateBackup); !near(got, time.Millisecond) {
		t.Errorf("the other steps back after %v", got)
	}
}

func TestNoPreemptTakesOverOnSilenceOnly(t *testing.T) {
	c := config4(1, 150)
	c.NoPreempt = true
	m, b := pair(t, config4(2, 100), c)
	m.net.run(20 * time.Second)
	if b.in().State() != StateBackup {
		t.Fatal("preempts")
	}
	m.stop()
	if got := b.until(StateMaster); !near(got, 415*time.Millisecond) {
		t.Errorf("%v after priority 0, want 415ms", got)
	}
}

func TestPreemptDelayCountsFromTheFirstLowerAdvert(t *testing.T) {
	n := newNetwork()
	b := n.add(config4(2, 100)).start(t)
	b.until(StateMaster)
	n.run(250 * time.Millisecond)
	c := config4(1, 150)
	c.PreemptDelay = 5 * time.Second
	a := n.add(c).start(t)
	// The first is heard at 0.75 s, the last that counts at 4.75 s.
	if got := a.until(StateMaster); !near(got, 8165*time.Millisecond) {
		t.Errorf("%v, want 8.165s", got)
	}

	// It has nothing to do with a start where there is no master.
	if got := newNetwork().add(c).start(t).until(StateMaster); !near(got, 3414*time.Millisecond) {
		t.Errorf("alone: %v, want 3.414s", got)
	}
}

// TestPreemptDelayBeginsAnewAfterAMasterThatIsNotLower: of higher priority or equal.
func TestPreemptDelayBeginsAnewAfterAMasterThatIsNotLower(t *testing.T) {
	for _, between := range []uint8{150, 200} {
		c := config4(1, 150)
		c.PreemptDelay = 5 * time.Second
		x := newNetwork().add(c).start(t)
		hear := func(priority uint8, times int) {
			for range times {
				x.in().Receive(x.net.now, advertBytes(config4(2, priority), priority))
				x.net.run(time.Second)
			}
		}
		hear(100, 4)
		hear(between, 3)
		hear(100, 5)
		begin := x.net.now
		x.in().Receive(x.net.now, advertBytes(config4(2, 100), 100)) // 5 s after the first of them: does not count
		x.until(StateMaster)
		if got := x.net.now.Sub(begin); !near(got, 2414*time.Millisecond) {
			t.Errorf("priority %d between: master %v after the delay, want 2.414s", between, got)
		}
	}
}

func TestEqualBackupsAreDecidedByWhoSendsFirst(t *testing.T) {
	n := newNetwork()
	a, b := n.add(config4(1, 100)), n.add(config4(2, 100))
	a.start(t)
	n.run(2 * time.Millisecond)
	b.start(t)
	n.run(20 * time.Second)
	if !a.master() || b.master() || len(b.sent) > 0 {
		t.Errorf("%s and %s", a.in().State(), b.in().State())
	}
}

// split makes two masters that do not hear each other, and returns when they do.
func split(t *testing.T, a, b Config) (x, y *node) {
	t.Helper()
	n := newNetwork()
	x, y = n.add(a), n.add(b)
	connected := false
	n.linked = func(_, _ *node) bool { return connected }
	x.start(t)
	n.run(300 * time.Millisecond)
	y.start(t)
	n.run(20*time.Second + 100*time.Millisecond)
	if !x.master() || !y.master() {
		t.Fatalf("%s and %s, want two masters", x.in().State(), y.in().State())
	}
	connected = true
	x.log, y.log, x.sent, y.sent = nil, nil, nil, nil
	return x, y
}

func TestSplitEndsWithinAnAdvert(t *testing.T) {
	for _, c := range []struct {
		name     string
		a, b     Config
		aIsFirst bool
	}{
		{"higher priority", config4(1, 150), config4(2, 100), true},
		{"lower priority", config4(1, 100), config4(2, 150), false},
		{"equal priority: higher address", config4(1, 100), config4(2, 100), false},
		{"equal priority: higher address, IPv6", config6(7, 100), config6(2, 100), true},
		{"two owners: higher address", config4(1, 255), config4(2, 255), false},
		{"owner", config4(1, 255), config4(2, 200), true},
	} {
		a, b := split(t, c.a, c.b)
		a.net.run(1010 * time.Millisecond)
		if a.master() != c.aIsFirst || b.master() == c.aIsFirst {
			t.Errorf("%s: %s and %s", c.name, a.in().State(), b.in().State())
		}
		winner := a
		if !c.aIsFirst {
			winner = b
		}
		if !slices.Contains(winner.log, "v: announce "+winner.cfgs[0].Addresses[0].String()) {
			t.Errorf("%s: the winner does not announce: %q", c.name, winner.log)
		}
		if winner.reported(EventLower) == 0 {
			t.Errorf("%s: the winner does not tell", c.name)
		}
		if both := c.a.Priority == 255 && c.b.Priority == 255; (a.reported(EventTwoOwners)+b.reported(EventTwoOwners) > 0) != both {
			t.Errorf("%s: two owners reported: %t", c.name, !both)
		}
		if got := winner.in().Stats(); c.a.Priority != c.b.Priority && got.LeftMaster != 0 {
			t.Errorf("%s: the winner left %d times", c.name, got.LeftMaster)
		}
	}
}

func TestMasterStepsBackSilentlyAsKeepalived(t *testing.T) {
	for _, silent := range []bool{false, true} {
		c := config4(2, 100)
		c.Keepalived.StepBackSilently = silent
		_, b := split(t, config4(1, 150), c)
		b.until(StateBackup)
		if got := len(b.sent) == 0; got != silent {
			t.Errorf("silent %t: sent %q", silent, b.log)
		}
	}
}

func TestMasterAnswersPriorityZeroAtOnce(t *testing.T) {
	m, _ := pair(t, config4(1, 150), config4(2, 100))
	a := advertOf(config4(2, 100), 0)
	m.in().Receive(m.net.now, a.Append(nil))
	if !slices.Equal(m.log, []string{"v: send 150"}) {
		t.Errorf("%q", m.log)
	}
}

// advertOf is an advert of a configuration.
func advertOf(c Config, priority uint8) Advert {
	c = c.withDefaults()
	return Advert{
		Src: c.Source, Dst: c.Multicast, TTL: 255, TOS: 0xc0, ID: 1,
		Version: c.Version, Type: 1, VRID: c.VRID, Priority: priority, Interval: c.Interval, Addresses: c.Addresses,
	}
}

func TestMasterAnswersLowerPriority(t *testing.T) {
	lower := advertOf(config4(2, 100), 100)
	for _, c := range []struct {
		name          string
		change        func(*Config)
		adverts       int // after three of lower priority at once, and one more later
		announcements int
	}{
		{"default: one answer to adverts at one time", func(c *Config) {}, 2, 2 * 5},
		{"all", func(c *Config) { c.Keepalived.AnswerAll = true }, 4, 4 * 5},
		{"no advert", func(c *Config) { c.LowerNoAdvert = true }, 0, 2 * 5},
		{"no announcement", func(c *Config) { c.Announce.LowerRepeat = -1 }, 2, 0},
		{"one announcement", func(c *Config) { c.Announce.LowerRepeat = 1 }, 2, 2},
	} {
		cfg := config4(1, 150)
		cfg.Announce.Delay, cfg.Announce.LowerDelay = -1, -1
		c.change(&cfg)
		m, _ := pair(t, cfg, config4(2, 100))
		for range 3 {
			m.in().Receive(m.net.now, lower.Append(nil))
		}
		m.in().Receive(m.net.now.Add(700*time.Millisecond), lower.Append(nil))
		if got := len(m.sent); got != c.adverts {
			t.Errorf("%s: %d adverts, want %d", c.name, got, c.adverts)
		}
		if got := m.count("announce"); got != c.announcements {
			t.Errorf("%s: %d announcements, want %d", c.name, got, c.announcements)
		}
	}
}

// count returns how many lines of the log have a word.
func (x *node) count(word string) int {
	n := 0
	for _, line := range x.log {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}

func TestOwnAddressOfEqualPriorityIsReportedOnly(t *testing.T) {
	m, _ := pair(t, config4(1, 150), config4(2, 100))
	a := advertOf(config4(1, 150), 150)
	m.in().Receive(m.net.now, a.Append(nil))
	if !m.master() || m.reported(EventSameAddress) != 1 || len(m.sent) > 0 {
		t.Errorf("%s, %v, %q", m.in().State(), m.events, m.log)
	}
}

func TestVersion3LearnsTheIntervalOfTheMaster(t *testing.T) {
	slow, quick := config6(1, 150), config6(2, 100)
	slow.Interval, quick.Interval = 3*time.Second, 100*time.Millisecond
	n := newNetwork()
	m := n.add(slow).start(t)
	m.until(StateMaster)
	n.run(2950 * time.Millisecond)
	b := n.add(quick).start(t)
	n.run(100 * time.Millisecond)
	if got := b.in().Status().MasterInterval; got != 3*time.Second || b.reported(EventInterval) != 1 {
		t.Fatalf("interval %v, events %v", got, b.events)
	}
	n.run(20 * time.Second)
	if b.master() {
		t.Fatal("took over from a master that is there")
	}
	last := m.in().sent
	m.crash()
	b.until(StateMaster)
	if got, want := n.now.Sub(last), 3*3*time.Second+3*time.Second*156/256; !near(got, want) {
		t.Errorf("took over after %v, want %v", got, want)
	}
	n.run(time.Second)
	if got := len(b.sent); got != 11 {
		t.Errorf("%d adverts in a second, want its own interval again", got)
	}
}

func TestMasterThatStepsBackHasTheIntervalOfTheOther(t *testing.T) {
	x := newNetwork().add(config6(1, 100)).start(t)
	x.until(StateMaster)
	slow := config6(2, 150)
	slow.Interval = 3 * time.Second
	x.in().Receive(x.net.now, advertBytes(slow, 150))
	want := 3*3*time.Second + 3*time.Second*156/256
	if got := x.until(StateMaster); !near(got, want) {
		t.Errorf("master again after %v, want %v", got, want)
	}
}

// TestFallOfTheMasterIsTakenOverAtOnce: keepalived waits for the master down time.
func TestFallOfTheMasterIsTakenOverAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config) // of the backup
		act    func(m, b *node)
		want   time.Duration // 0 is never
	}{
		{"master falls", func(*Config) {}, fall, 611 * time.Millisecond},
		{"backup rises", func(*Config) {}, func(_, b *node) { b.in().SetPriority(b.net.now, 200) }, 716 * time.Millisecond},
		{"slowly", func(c *Config) { c.Keepalived.SlowPreempt = true }, fall, 3109 * time.Millisecond},
		{"no preempt", func(c *Config) { c.NoPreempt = true }, fall, 0},
		{"preempt delay", func(c *Config) { c.PreemptDelay = 2 * time.Second }, fall, 4610 * time.Millisecond},
	} {
		cfg := config4(2, 100)
		c.change(&cfg)
		m, b := pair(t, config4(1, 150), cfg)
		c.act(m, b)
		got := b.until(StateMaster)
		if c.want == 0 && got != -1 || c.want != 0 && !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func fall(m, _ *node) { m.in().SetPriority(m.net.now, 80) }

func TestFallOfAMasterOfEqualPriority(t *testing.T) {
	m, b := pair(t, config4(1, 100), config4(2, 100))
	m.in().SetPriority(m.net.now, 99)
	if got := b.until(StateMaster); !near(got, 611*time.Millisecond) {
		t.Errorf("%v", got)
	}
}

func TestBackupsOfAFallenMasterAreInOrder(t *testing.T) {
	m, b := pair(t, config4(1, 200), config4(2, 100))
	c := m.net.add(config4(3, 150)).start(t)
	m.net.run(5 * time.Second)
	m.in().SetPriority(m.net.now, 50)
	m.net.run(3 * time.Second)
	if !c.master() || b.in().Stats().BecameMaster != 0 {
		t.Errorf("%s and %s", b.in().State(), c.in().State())
	}
}

func TestThreeNodesTheBestOfTwoBackupsTakesOver(t *testing.T) {
	m, a := pair(t, config4(3, 200), config4(1, 100))
	b := m.net.add(config4(2, 150)).start(t)
	m.net.run(3 * time.Second)
	m.stop()
	m.net.run(time.Second)
	if !b.master() || len(a.sent) > 0 {
		t.Errorf("%s and %s", a.in().State(), b.in().State())
	}
	if got := b.in().Status(); got.Priority != 150 || got.Master != (netip.Addr{}) {
		t.Errorf("%+v", got)
	}
	if got := a.in().Status(); got.Master != b.cfgs[0].Source || got.MasterPriority != 150 {
		t.Errorf("%+v", got)
	}
}
