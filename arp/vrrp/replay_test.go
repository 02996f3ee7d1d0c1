package vrrp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// tolerance is how far in time an instance may be from keepalived, which takes a moment
// to start, to add addresses and to be scheduled.
const tolerance = 20 * time.Millisecond

// TestReplay puts a Router in the place of each node of each recording: it gets the
// adverts of the other nodes when they were recorded and what was done to the node, and
// must send what keepalived sent when keepalived sent it. That is done twice, with the
// settings that have keepalived's way, and with the defaults. The differences that there
// are must be in the list of listed ones, each with its reason.
//
// VRRP_RECORDINGS names a directory with other recordings.
func TestReplay(t *testing.T) {
	for _, mode := range []string{asKeepalived, byDefaults} {
		var same, listed, failed int
		for _, r := range recordings(t) {
			for _, node := range slices.Sorted(maps.Keys(r.Conf)) {
				t.Run(mode+"/"+r.Name+"/"+node, func(t *testing.T) {
					d, expected := knownDifference(mode, r.Name, node)
					diff, at, err := replay(&r, node, mode == byDefaults, d)
					if err != nil {
						t.Fatal(err)
					}
					switch {
					case diff == "" && !expected:
						same++
					case diff == "" && (d.extra || d.slow > 0), diff != "" && d.from > 0 && !d.extra && at >= d.from:
						listed++
						t.Logf("differs as listed: %s\n%s", d.reason, diff)
					case diff == "":
						failed++
						t.Errorf("no difference, but this is listed: %s", d.reason)
					default:
						failed++
						t.Error(diff)
					}
				})
			}
		}
		t.Logf("%s: %d nodes the same, %d differ as listed, %d fail", mode, same, listed, failed)
	}
}

const (
	asKeepalived = "as keepalived"
	byDefaults   = "default"
)

// sending is an advert or an announcement.
type sending struct {
	at     time.Duration
	what   string
	id     uint16 // of an IPv4 advert
	advert bool
}

func (s sending) String() string { return fmt.Sprintf("%v: %s id %d", s.at, s.what, s.id) }

// replay returns the first difference and when it is.
func replay(r *recording, node string, defaults bool, d difference) (string, time.Duration, error) {
	p, err := newReplayer(r, node, defaults)
	if err != nil {
		return "", 0, err
	}
	p.tolerance = max(tolerance, d.slow)
	want := p.expected()
	p.boot, err = p.bootTime(want)
	if err != nil {
		return "", 0, err
	}
	if err := p.run(); err != nil {
		return "", 0, err
	}
	if d.extra && !p.dropExtra(d.from) {
		return "the additional advert that is listed was not sent: " + d.reason, d.from, nil
	}
	for _, advert := range []bool{true, false} {
		only := func(l []sending) []sending {
			return slices.DeleteFunc(slices.Clone(l), func(s sending) bool { return s.advert != advert })
		}
		if diff, at := compareSendings(only(want), only(p.got), p.tolerance); diff != "" {
			return diff, at, nil
		}
	}
	return "", 0, nil
}

func compareSendings(want, got []sending, tolerance time.Duration) (string, time.Duration) {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("keepalived  %v\nthen we send nothing", want[i]), want[i].at
		case i >= len(want):
			return fmt.Sprintf("we          %v\nthen keepalived sent nothing", got[i]), got[i].at
		case want[i].what != got[i].what, want[i].id != got[i].id, (want[i].at - got[i].at).Abs() > tolerance:
			return fmt.Sprintf("keepalived  %v\nwe          %v", want[i], got[i]), min(want[i].at, got[i].at)
		}
	}
	return "", 0
}

// dropExtra takes an advert that we sent at a time out, as if it had not been sent.
func (p *replayer) dropExtra(at time.Duration) bool {
	i := slices.IndexFunc(p.got, func(s sending) bool { return s.advert && (s.at-at).Abs() <= tolerance })
	if i < 0 {
		return false
	}
	id := p.got[i].id
	p.got = slices.Delete(p.got, i, i+1)
	for j := range p.got {
		if p.got[j].advert && p.got[j].id >= id && id > 0 {
			p.got[j].id--
		}
	}
	return true
}

// replayer is one node in virtual time, which is what the recording has.
type replayer struct {
	rec    *recording
	node   string
	conf   nodeConf
	router *Router
	now    time.Duration
	got    []sending

	running, stopped bool
	cut              bool // from the switch
	tolerance        time.Duration
	boot             time.Duration // from the start of the process to that of the protocol
	queued           [][]byte      // while stopped
	scripts          time.Duration // when the next results of scripts are due; 0 is never
	failing          bool          // so scripts say
	results          int           // of one kind in a row
}

var epoch = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

func newReplayer(r *recording, node string, defaults bool) (*replayer, error) {
	conf, err := parseConf(r.Conf[node], node[0], strings.Contains(r.Keepalived, "v2.2"))
	if err != nil {
		return nil, err
	}
	for i := range conf.configs {
		if defaults {
			conf.configs[i].Keepalived = Keepalived{}
		}
	}
	return &replayer{rec: r, node: node, conf: conf}, nil
}

// recordedWall is the time of day: trailers of recorded adverts have their own, so that
// the window can be nothing but what they say.
func (p *replayer) recordedWall() time.Time {
	for i := range p.rec.Packets {
		if x := &p.rec.Packets[i]; x.Kind == "vrrp" {
			if a, _ := Decode(x.ipPacket()); a.Trailer != nil {
				return time.Unix(int64(a.Trailer.Seconds), int64(a.Trailer.Fraction)*1e9>>16).Add(-x.at())
			}
		}
	}
	return epoch
}

// run plays the recording. Adverts go before what is done at the same time.
func (p *replayer) run() error {
	wall := p.recordedWall()
	for i := range p.conf.configs {
		p.conf.configs[i].Wall = func(now time.Time) time.Time { return wall.Add(now.Sub(epoch)) }
	}
	packets, timeline := p.rec.Packets, p.rec.Timeline
	for len(packets) > 0 || len(timeline) > 0 {
		if len(timeline) == 0 || len(packets) > 0 && packets[0].at() <= p.doneAt(timeline[0].At, timeline[0].Do) {
			p.advance(packets[0].at())
			p.receive(&packets[0])
			packets = packets[1:]
			continue
		}
		p.advance(p.doneAt(timeline[0].At, timeline[0].Do))
		if err := p.do(timeline[0].Do); err != nil {
			return err
		}
		timeline = timeline[1:]
	}
	return nil
}

// doneAt is when something that was done at a time has its effect.
func (p *replayer) doneAt(at float64, do string) time.Duration {
	if do == "start keepalived on "+p.node {
		return seconds(at) + p.boot
	}
	return seconds(at)
}

// bootTime is how long the process of the node took to start. It shows in when it joins
// a multicast group or, without that, in when it first sends.
func (p *replayer) bootTime(want []sending) (time.Duration, error) {
	const usual, longest = 25 * time.Millisecond, 200 * time.Millisecond
	var start time.Duration
	for _, e := range p.rec.Timeline {
		if e.Do == "start keepalived on "+p.node {
			start = seconds(e.At)
		}
	}
	for i := range p.rec.Packets {
		x := &p.rec.Packets[i]
		elapsed := x.at() - start
		if (x.Kind == "igmp" || x.Kind == "hopopt") && x.from() == p.node && elapsed > 0 && elapsed < longest {
			return max(elapsed-10*time.Millisecond, 0), nil
		}
	}
	probe := *p
	if err := probe.run(); err != nil {
		return 0, err
	}
	if len(want) > 0 && len(probe.got) > 0 {
		if boot := want[0].at - probe.got[0].at; boot >= 0 && boot <= longest {
			return boot, nil
		}
	}
	return usual, nil
}

// from is the node whose MAC a frame comes from.
func (p *recorded) from() string {
	n := p.SrcMAC[len(p.SrcMAC)-1]
	if !strings.HasPrefix(p.SrcMAC, "02:00:00:00:00:") || n < 'a' || n > 'f' {
		return ""
	}
	return string(n)
}

// advance lets timers end up to a time.
func (p *replayer) advance(to time.Duration) {
	for p.running && !p.stopped {
		d := p.router.Deadline()
		next := p.scheduled(d.Sub(epoch))
		if p.scripts != 0 && (d.IsZero() || p.scripts <= next) && p.scripts <= to {
			p.now = max(p.now, p.scripts)
			p.runScripts()
			continue
		}
		if d.IsZero() || next > to {
			break
		}
		p.now = max(p.now, next)
		p.router.Tick(p.time())
	}
	p.now = to
}

// scheduled is when the node's process got to what is due: when it sent an advert, if
// that was soon after, so that delays do not add up over a recording. If it sent none and
// got an advert within 5 ms, that came first: it was busy with its addresses until then.
func (p *replayer) scheduled(due time.Duration) time.Duration {
	const busy, onItsWay = 5 * time.Millisecond, 200 * time.Microsecond
	other := due // an advert that comes before our own
	for i := range p.rec.Packets {
		x := &p.rec.Packets[i]
		elapsed := x.at() - due
		switch {
		case x.Kind != "vrrp" || elapsed <= 0 || elapsed > p.tolerance:
		case p.mine(x.Src) && other > due && x.at()-other < onItsWay:
			return max(other-1, due)
		case p.mine(x.Src):
			return x.at()
		case elapsed <= busy && other == due:
			other = x.at()
		}
	}
	if other > due {
		other++
	}
	return other
}

// mine reports whether an address is the node's.
func (p *replayer) mine(addr string) bool {
	return slices.ContainsFunc(p.conf.configs, func(c Config) bool { return c.Source.String() == addr })
}

func (p *replayer) time() time.Time { return epoch.Add(p.now) }

// receive gets a frame that was recorded, if it is an advert of another node.
func (p *replayer) receive(x *recorded) {
	if x.Kind != "vrrp" || !p.running || p.cut {
		return
	}
	if p.mine(x.Src) || !netip.MustParseAddr(x.Dst).IsMulticast() && !p.mine(x.Dst) {
		return
	}
	if p.stopped {
		p.queued = append(p.queued, x.ipPacket())
		return
	}
	p.router.Receive(p.time(), "eth0", x.ipPacket())
}

// do is what was done to a node or to the switch.
func (p *replayer) do(what string) error {
	now := p.time()
	port := "p" + p.node
	switch what {
	case "start keepalived on " + p.node:
		var err error
		if p.router, err = NewRouter(p, p.conf.configs...); err != nil {
			return err
		}
		p.running = true
		if len(p.conf.tracked) > 0 {
			p.scripts = p.now + p.script().interval
		}
		p.router.Start(now)
	case "SIGTERM to keepalived on " + p.node:
		p.router.Shutdown(now)
		p.running = false
	case "SIGKILL to keepalived on " + p.node:
		p.running = false
	case "SIGHUP to keepalived on " + p.node:
		c := p.conf.configs[0]
		c.Priority = p.nextPriority()
		return p.router.Instances()[0].Reconfigure(now, c)
	case "SIGSTOP to keepalived on " + p.node:
		p.stopped = true
	case "SIGCONT to keepalived on " + p.node:
		p.stopped = false
		for _, packet := range p.queued {
			p.router.Receive(now, "eth0", packet)
		}
		p.router.Tick(now)
	case p.node + ": ip link set eth0 down":
		p.cut = true
		p.fault(true)
	case p.node + ": ip link set eth0 up":
		p.cut = false
		p.fault(false)
	case "bridge: ip link set " + port + " nomaster":
		p.cut = true
	case "bridge: ip link set " + port + " master br0":
		p.cut = false
	case "script fails":
		p.failing, p.results = true, 0
	case "script succeeds":
		p.failing, p.results = false, 0
	default:
		other, ok := strings.CutPrefix(what, "SIG")
		if _, version, found := strings.Cut(other, " to keepalived on "); ok && found && len(version) == 1 ||
			strings.HasPrefix(what, "start keepalived on ") || strings.HasPrefix(what, "bridge: ip link set p") ||
			strings.HasPrefix(what[1:], ": ip link set eth0 ") {
			return nil // to another node
		}
		return fmt.Errorf("do not know how to do %q", what)
	}
	return nil
}

func (p *replayer) fault(fault bool) {
	for _, in := range p.router.Instances() {
		in.SetFault(p.time(), fault)
	}
}

// script is the one script that the node tracks.
func (p *replayer) script() script { return p.conf.scripts[p.conf.tracked[0]] }

// runScripts is the host's part: to count results and to say what follows from them.
func (p *replayer) runScripts() {
	s := p.script()
	p.scripts += s.interval
	p.results++
	if p.failing && p.results == s.fall {
		p.fault(true)
	}
	if !p.failing && p.results == s.rise {
		p.fault(false)
	}
}

// nextPriority is what keepalived read on SIGHUP: what it sent after that.
func (p *replayer) nextPriority() uint8 {
	old := p.conf.configs[0].Priority
	for i := range p.rec.Packets {
		x := &p.rec.Packets[i]
		if x.at() > p.now && x.Kind == "vrrp" && x.from() == p.node && x.Priority != old && x.Priority != 0 {
			return x.Priority
		}
	}
	return old
}

// expected is what keepalived sent.
func (p *replayer) expected() []sending {
	var l []sending
	for i := range p.rec.Packets {
		x := &p.rec.Packets[i]
		switch x.Kind {
		case "vrrp":
			if p.mine(x.Src) {
				what, id := describe(x.ipPacket())
				l = append(l, sending{x.at(), what, id, true})
			}
		case "arp", "na":
			if p.announces(x) {
				l = append(l, sending{x.at(), "announcement of " + x.Target, 0, false})
			}
		}
	}
	return l
}

// announces reports whether the frame is an announcement of the node. One from a virtual
// MAC may be anybody's; recordings with such have one node.
func (p *replayer) announces(x *recorded) bool {
	if x.from() != p.node && !strings.HasPrefix(x.SrcMAC, "00:00:5e:") || x.Kind == "arp" && x.Sender != x.Target {
		return false
	}
	return slices.ContainsFunc(p.conf.configs, func(c Config) bool {
		return slices.ContainsFunc(slices.Concat(c.Addresses, c.Excluded), func(a netip.Addr) bool { return a.String() == x.Target })
	})
}

// describe has all of an advert but what kernels choose and what depends on the time.
func describe(packet []byte) (what string, id uint16) {
	a, reason := Decode(packet)
	f := fieldsOf(&a)
	delete(f, "id")
	if t := a.Trailer; t != nil {
		f["trailer"] = fmt.Sprintf("scheme %d key %d", t.Scheme, t.KeyID)
		if a.Src.Is6() {
			delete(f, "sum") // covers the trailer
		}
	}
	return fmt.Sprint(reason, f), a.ID
}

func (p *replayer) Send(in *Instance, _ netip.Addr, packet []byte) {
	a, _ := Decode(packet)
	if a.Trailer != nil && a.hmac(in.cfg.HMAC.secret()) != a.Trailer.HMAC {
		p.record("an advert with a wrong HMAC", 0, true)
	}
	what, id := describe(packet)
	p.record(what, id, true)
}

func (p *replayer) Announce(in *Instance, addr netip.Addr) {
	if addr != in.cfg.Source {
		p.record("announcement of "+addr.String(), 0, false)
	}
}

func (p *replayer) record(what string, id uint16, advert bool) {
	if !p.cut {
		p.got = append(p.got, sending{p.now, what, id, advert})
	}
}

func (p *replayer) Become(*Instance, State, Cause) {}
func (p *replayer) Report(*Instance, Event)        {}
