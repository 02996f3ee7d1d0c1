package vrrp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSimulation has random networks of two or three nodes suffer random partitions,
// losses, crashes, pauses, clock steps, faults and changes of priority, and checks that
//
//   - where nodes reach each other, two are master for no longer than it takes the slower
//     one to send an advert;
//   - where a node is up and not in fault, there is a master after no longer than the
//     longest master down time;
//   - who was stopped for a master down time does not claim to be master;
//   - in the end, in peace, one is master: where all preempt, the one of highest priority.
//
// VRRP_SEEDS=10000 sets the number of networks, VRRP_SEED=N runs a single one.
func TestSimulation(t *testing.T) {
	first, seeds := uint64(1), 1000
	if s, err := strconv.ParseUint(os.Getenv("VRRP_SEED"), 10, 64); err == nil {
		first, seeds = s, 1
	}
	if n, err := strconv.Atoi(os.Getenv("VRRP_SEEDS")); err == nil {
		seeds = n
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		if err := simulate(t, seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// failedSeeds are networks in which an earlier state of the machine or of the simulation
// did wrong.
var failedSeeds = []struct {
	seed uint64
	what string
}{
	{1283, "the simulation took adverts for good whose sender had its clock set back and was started again"},
	{2317, "numbers of AHs were compared with our own, so two masters that sent at the same times did not hear each other"},
	{4185, "the simulation forgot that a clock was set back twice"},
	{29535, "the simulation had no time for a router with an AH to hear the others once it has started again"},
}

func TestSimulationSeedsThatFailed(t *testing.T) {
	for _, s := range failedSeeds {
		if err := simulate(t, s.seed); err != nil {
			t.Errorf("seed %d (%s): %v", s.seed, s.what, err)
		}
	}
}

// world is one simulated network and what must hold in it.
type world struct {
	*network
	t     *testing.T
	rnd   *rand.Rand
	story []string // what was done
	err   error
	cut   [3][3]bool
	loss  float64
	slow  time.Duration // interval of the slowest
	hmac  *HMAC
	calm  time.Time // when it was last disturbed, and what follows from that is over
	two   time.Time // since when there are two masters; zero is never
	none  time.Time
	stale [3]bool // stopped for a master down time while master, and not backup since
	// furthest is the latest that the clock of a node has shown before it was set.
	furthest [3]time.Time
}

func simulate(t *testing.T, seed uint64) error {
	w := &world{network: newNetwork(), t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	w.setUp()
	for range 20 {
		w.disturb()
		w.pass(time.Duration(w.rnd.ExpFloat64() * 6 * float64(w.slow)))
	}
	w.makePeace()
	w.pass(4 * w.longestNone())
	w.checkEnd()
	if w.err != nil {
		return fmt.Errorf("%w\n%s", w.err, w.told())
	}
	return nil
}

func (w *world) told() string {
	s := ""
	for i, x := range w.nodes {
		c := &x.cfgs[0]
		s += fmt.Sprintf("node %d: version %d, priority %d, interval %v, no preempt %t, delay %v, source %v, peers %d\n",
			i, c.Version, c.Priority, c.Interval, c.NoPreempt, c.PreemptDelay, c.Source, len(c.Peers))
	}
	for _, line := range w.story {
		s += line + "\n"
	}
	return s
}

func (w *world) logf(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%8.3f ", w.now.Sub(epoch).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
		w.logf("FAIL")
	}
}

func (w *world) chance(p float64) bool { return w.rnd.Float64() < p }

// setUp makes the nodes.
func (w *world) setUp() {
	base := config4(0, 0)
	if w.chance(0.6) {
		base.Version = 3
	}
	six := base.Version == 3 && w.chance(0.5)
	base.Interval = time.Duration(1+w.rnd.IntN(2)) * time.Second
	if base.Version == 3 {
		base.Interval = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second}[w.rnd.IntN(4)]
	}
	w.slow = base.Interval
	switch {
	case w.chance(0.4):
		w.hmac = &HMAC{Keys: []Key{{1, make([]byte, 32)}}, Active: 1, Monotonic: w.chance(0.5)}
	case base.Version == 2 && w.chance(0.3):
		base.Password, base.AH = "secret", w.chance(0.5)
	}
	n := 2 + w.rnd.IntN(2)
	unicast := w.chance(0.3)
	var cfgs []Config
	for i := range n {
		c := base
		c.HMAC = w.hmac
		c.Source = config4(byte(i+1), 0).Source
		if six {
			c.Source, c.Addresses = config6(byte(i+1), 0).Source, config6(1, 0).Addresses
		}
		c.Priority = []uint8{1, 50, 100, 100, 150, 200, 254, OwnerPriority}[w.rnd.IntN(8)]
		switch {
		case c.Priority == OwnerPriority:
			c.StartMaster = w.chance(0.5)
		case w.chance(0.3):
			c.NoPreempt = true
		case w.chance(0.2):
			c.PreemptDelay = time.Duration(1+w.rnd.IntN(10)) * c.Interval
		}
		if base.Version == 3 && w.chance(0.1) {
			c.Interval = 2 * base.Interval
			w.slow = c.Interval
		}
		cfgs = append(cfgs, c)
	}
	for i := range cfgs {
		for j := range cfgs {
			if unicast && i != j {
				cfgs[i].Peers = append(cfgs[i].Peers, Peer{Addr: cfgs[j].Source})
			}
		}
		w.add(cfgs[i])
	}
	w.network.delay = func() time.Duration { return time.Duration(w.rnd.Int64N(int64(2 * time.Millisecond))) }
	w.network.lateness = func() time.Duration { return time.Duration(w.rnd.Int64N(int64(5 * time.Millisecond))) }
	w.network.lose = func() bool { return w.loss > 0 && w.chance(w.loss) }
	w.network.linked = func(a, b *node) bool { return !w.cut[w.index(a)][w.index(b)] && !a.in().fault && !b.in().fault }
	w.network.changed = func(x *node) {
		if x.router != nil && x.in().State() != StateMaster {
			w.stale[w.index(x)] = false
		}
	}
	w.calm, w.network.quiet = w.now, true
}

func (w *world) index(x *node) int {
	for i, y := range w.nodes {
		if x == y {
			return i
		}
	}
	return -1
}

// pass lets time pass and looks after each thing that happens.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for {
		w.check()
		if w.err != nil || !w.step(end) {
			break
		}
	}
	w.now = end
	w.check()
}

// longestTwo is how long nodes that reach each other may both be master. With an AH, one
// that has started again counts from 1 and is heard after it has heard the others.
func (w *world) longestTwo() time.Duration {
	if w.nodes[0].cfgs[0].AH {
		return 3*w.slow + 30*time.Millisecond
	}
	return w.slow + 30*time.Millisecond
}

// longestNone is how long there may be no master.
func (w *world) longestNone() time.Duration {
	skew := w.slow
	if w.nodes[0].cfgs[0].Version == 2 {
		skew = time.Second
	}
	return 3*w.slow + skew + 30*time.Millisecond
}

// check looks for two masters and for none, in each part of the network.
func (w *world) check() {
	two, none := false, false
	for i, x := range w.nodes {
		if !x.up || x.paused || x.in().State() == StateFault {
			continue
		}
		masters := 0
		for j, y := range w.nodes {
			if (i == j || !w.cut[i][j] && !w.cut[j][i]) && y.master() {
				masters++
			}
		}
		two = two || x.master() && masters > 1
		none = none || masters == 0
	}
	w.two, w.none = since(w.two, two, w.now), since(w.none, none, w.now)
	if d := w.lasts(w.two); d > w.longestTwo() {
		w.fail("two masters for %v, longest is %v", d, w.longestTwo())
	}
	if d := w.lasts(w.none); d > w.longestNone() {
		w.fail("no master for %v, longest is %v", d, w.longestNone())
	}
	for i, x := range w.nodes {
		if n := len(x.sent); w.stale[i] && n > 0 && x.sent[n-1].at.Equal(w.now) && x.sent[n-1].Priority > 0 {
			w.fail("node %d was stopped, and claims to be master", i)
		}
	}
}

// lasts is how long something is the case in peace.
func (w *world) lasts(since time.Time) time.Duration {
	if since.IsZero() || w.loss > 0 {
		return 0
	}
	return w.now.Sub(later(since, w.calm))
}

func since(was time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		return time.Time{}
	case was.IsZero():
		return now
	}
	return was
}

// checkEnd is for the end of a time in which all could settle.
func (w *world) checkEnd() {
	masters, best, preempt := 0, 0, true
	for _, x := range w.nodes {
		if x.master() {
			masters++
		}
		c := &x.cfgs[0]
		best = max(best, int(x.in().priority))
		preempt = preempt && !c.NoPreempt && c.PreemptDelay == 0 && !x.in().released
	}
	if masters != 1 {
		w.fail("%d masters in the end", masters)
		return
	}
	for i, x := range w.nodes {
		if preempt && x.master() && int(x.in().priority) != best {
			w.fail("node %d is master in the end with priority %d, the best is %d", i, x.in().priority, best)
		}
	}
}

// makePeace ends all that is wrong.
func (w *world) makePeace() {
	w.cut, w.loss = [3][3]bool{}, 0
	for i, x := range w.nodes {
		switch {
		case !x.up:
			x.start(w.t)
		case x.paused:
			w.resume(i)
		}
		if x.in().fault {
			x.in().SetFault(w.now, false)
		}
		w.stepClock(x, -x.wallOffset)
	}
	w.logf("peace")
	w.calm = later(w.calm, w.now)
	w.pass(w.calm.Sub(w.now))
}

// disturb does one random thing.
func (w *world) disturb() {
	i := w.rnd.IntN(len(w.nodes))
	x := w.nodes[i]
	w.calm = later(w.calm, w.now)
	what := w.rnd.IntN(12)
	if !x.up {
		w.logf("start %d", i)
		x.start(w.t)
		return
	}
	if x.paused {
		w.resume(i)
		return
	}
	switch what {
	case 0, 1:
		w.cut = [3][3]bool{}
		for j := range w.nodes {
			cut := j != i && w.chance(0.7)
			w.cut[i][j], w.cut[j][i] = cut, cut
		}
		w.logf("cut %v", w.cut)
	case 2, 3:
		w.cut, w.loss = [3][3]bool{}, 0
		w.logf("heal")
	case 4:
		w.loss = w.rnd.Float64()
		w.logf("lose %.2f", w.loss)
	case 5:
		w.logf("crash %d", i)
		x.crash()
		w.stale[i] = false
	case 6:
		w.logf("stop %d", i)
		x.stop()
	case 7:
		w.pause(i)
	case 8:
		fault := !x.in().fault
		w.logf("fault of %d: %t", i, fault)
		x.in().SetFault(w.now, fault)
	case 9:
		p := 1 + w.rnd.IntN(254)
		w.logf("priority of %d: %d", i, p)
		x.in().SetPriority(w.now, p)
	case 10:
		w.stepClock(x, time.Duration(w.rnd.Int64N(int64(120*time.Second)))-60*time.Second)
	case 11:
		if x.in().State() == StateMaster {
			w.logf("release %d", i)
			x.in().Release(w.now)
		} else {
			w.logf("take over %d", i)
			x.in().TakeOver(w.now)
		}
	}
}

func (w *world) pause(i int) {
	x := w.nodes[i]
	x.paused, x.lostQueue = true, w.chance(0.5)
	w.logf("pause %d, packets lost: %t", i, x.lostQueue)
}

func (w *world) resume(i int) {
	x := w.nodes[i]
	w.logf("resume %d", i)
	in := x.in()
	w.stale[i] = in.State() == StateMaster && w.now.Sub(in.sent) >= 3*x.cfgs[0].Interval
	x.resume()
}

// stepClock changes the time of day of a node. Where it counts, which is for HMACs, it
// takes a while until the clocks are together again and numbers have caught up.
func (w *world) stepClock(x *node, d time.Duration) {
	x.wallOffset += d
	if w.hmac == nil || d == 0 {
		return
	}
	w.logf("clock of %d: %v", w.index(x), d)
	if w.hmac.Monotonic {
		// A node that starts again has to reach the numbers of before.
		i := w.index(x)
		w.furthest[i] = later(w.furthest[i], w.now.Add(x.wallOffset-d))
		w.calm = later(w.calm, w.now.Add(w.furthest[i].Sub(w.now.Add(x.wallOffset))))
		return
	}
	w.calm = w.now.Add(3 * x.in().cfg.HMAC.Window)
	for _, y := range w.nodes {
		if y.wallOffset != 0 {
			w.calm = w.now.Add(24 * time.Hour) // until peace is made
		}
	}
}
