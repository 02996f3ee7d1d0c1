package lb

import (
	"context"
	"flag"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/lb/lbtest/seeded"
	"github.com/golb/golb/sched"
)

// TestModel holds the engine against the model under random packets, edits and
// passing of time, and sees that nothing is left in the end. For a million steps, which
// take some minutes:
//
//	go test -run TestModel -timeout 1h ./lb -rapid.checks=1000 -rapid.steps=1000
func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.steps"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("200"); err != nil {
			t.Fatal(err)
		}
		defer f.Value.Set(f.DefValue)
	}
	seeded.Check(t, func(rt *rapid.T) {
		x := newModelRun(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"a packet":   x.packet,
			"b opening":  x.opening,
			"c reply":    x.reply,
			"d packet":   x.packet,
			"e time":     x.time,
			"f edit":     x.edit,
			"g weight":   x.weight,
			"h state":    x.state,
			"i packet":   x.packet,
			"j opening":  x.opening,
			"k reply":    x.reply,
			"l settings": x.settings,
			"":           x.check,
		})
		x.drain(rt)
	})
}

const modelWorkers = 2

// Those of the data plane, and of ip_vs.
const (
	expireApart  = ticksPerSecond      // how far expiry goes tick by tick
	templateStep = 60 * ticksPerSecond // by which the end of a template that controls connections is put off
	quietTime    = 60 * ticksPerSecond // until a dropped server that nothing refers to is forgotten
)

// modelServices are what may be configured; edits change the rest of them.
var modelServices = []modelService{
	{dests: []modelDest{{TCP, netip.MustParseAddrPort("192.0.2.80:80")}}},
	{dests: []modelDest{{UDP, netip.MustParseAddrPort("192.0.2.80:53")}}},
	{dests: []modelDest{{TCP, netip.MustParseAddrPort("[2001:db8::80]:80")}}},
	{dests: []modelDest{{UDP, netip.MustParseAddrPort("[2001:db8::80]:53")}}},
	{dests: []modelDest{{TCP, netip.MustParseAddrPort("192.0.2.81:80")}}},
	{dests: []modelDest{{TCP, netip.MustParseAddrPort("192.0.2.82:0")}}},
	{dests: []modelDest{{TCP, netip.MustParseAddrPort("192.0.2.83:80")}, {UDP, netip.MustParseAddrPort("192.0.2.84:53")}}},
}

// modelRun is one run of model and engine side by side.
type modelRun struct {
	*rig
	m     *model
	steps int
}

func newModelRun(rt *rapid.T) *modelRun {
	x := &modelRun{m: &model{
		servers: map[modelServerKey]*modelServer{}, timeouts: map[int]map[string]tick{}, conns: map[modelFlow]*modelConn{},
		templates: map[modelTemplateKey]*modelTemplate{}, voided: map[*modelTemplate]bool{},
	}}
	cfg := modelConfig{expireNodest: true, expireQuiescent: true, reuse: 3, services: make([]*modelService, len(modelServices))}
	for i := range modelServices {
		cfg.services[i] = drawService(rt, i)
	}
	r := &rig{gso: [2]bool{true, true}, hooks: func(e *Env) { e.OpenLink = func(LinkConfig) (Link, error) { return modelLink{}, nil } }}
	x.rig = newRigWith(rt, r, cfg.config(), 16) // few buckets, so that they overflow
	x.m.now = x.tick()
	x.m.apply(cfg)
	return x
}

func drawService(rt *rapid.T, i int) *modelService {
	s := modelServices[i]
	s.prefix = s.dests[0].vip.Addr().BitLen()
	drawPersistence(rt, &s)
	s.servers = map[netip.AddrPort]modelServerConfig{}
	drawScheduler(rt, &s)
	for range rapid.IntRange(0, 4).Draw(rt, "servers") {
		drawServer(rt, &s)
	}
	return &s
}

func drawScheduler(rt *rapid.T, s *modelService) {
	s.scheduler = rapid.SampledFrom(sched.Names()).Draw(rt, "scheduler")
}

func drawPersistence(rt *rapid.T, s *modelService) {
	times := []int{0, 30, 90, 600}
	if s.port() == 0 && !s.grouped() {
		times = times[1:] // what takes all ports has to be persistent
	}
	s.persistence = tick(rapid.SampledFrom(times).Draw(rt, "persistence")) * ticksPerSecond
	s.prefix = s.dests[0].vip.Addr().BitLen() - rapid.SampledFrom([]int{0, 8}).Draw(rt, "masked bits")
}

// drawServer adds a server, or edits one.
func drawServer(rt *rapid.T, s *modelService) {
	n := rapid.IntRange(1, 6).Draw(rt, "server")
	method := DSR
	if !s.onePacket && rapid.Bool().Draw(rt, "nat") {
		method = NAT
	}
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
	if s.is6() {
		addr = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n)})
	}
	port := s.port()
	if method == NAT && rapid.Bool().Draw(rt, "own port") {
		port = 8080
	}
	maps.DeleteFunc(s.servers, func(a netip.AddrPort, _ modelServerConfig) bool { return a.Addr() == addr && a.Port() != port })
	d := modelServerConfig{method: method, weight: rapid.IntRange(0, 5).Draw(rt, "weight")}
	if rapid.Bool().Draw(rt, "limited") {
		d.upper = rapid.SampledFrom([]int64{1, 2, 3, 4, 4, 8, 20}).Draw(rt, "upper")
		if rapid.Bool().Draw(rt, "lower too") {
			d.lower = rapid.Int64Range(0, d.upper).Draw(rt, "lower")
		}
	}
	s.servers[netip.AddrPortFrom(addr, port)] = d
}

// modelLink is where clients are too: replies that leave a silent hop reach them all the same.
type modelLink struct{ rigLink }

func (l modelLink) Resolve(a netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	if b := a.As16(); b[0] == 0x20 || a.Is4() && a.As4()[0] == 198 {
		changed(rigClient, true)
		return func() {}
	}
	return l.rigLink.Resolve(a, changed)
}

func drawClient(rt *rapid.T, is6 bool) netip.AddrPort {
	n := rapid.IntRange(0, 255).Draw(rt, "client")
	port := uint16(1024 + n%16)
	if is6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 7: byte(n / 64), 15: byte(n / 16)}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n / 64), byte(n / 16)}), port)
}

func drawFlow(rt *rapid.T) modelFlow {
	s := &modelServices[rapid.IntRange(0, len(modelServices)-1).Draw(rt, "service")]
	d := s.dests[rapid.IntRange(0, len(s.dests)-1).Draw(rt, "destination")]
	if d.vip.Port() == 0 {
		d.vip = netip.AddrPortFrom(d.vip.Addr(), rapid.SampledFrom([]uint16{80, 443}).Draw(rt, "port"))
	}
	return modelFlow{d.proto, drawClient(rt, s.is6()), d.vip}
}

var modelFlags = []uint8{
	forward.FlagACK, forward.FlagSYN, forward.FlagACK | forward.FlagPSH, forward.FlagFIN | forward.FlagACK, forward.FlagRST,
	forward.FlagSYN | forward.FlagACK, forward.FlagRST | forward.FlagACK, forward.FlagFIN, 0, forward.FlagFIN | forward.FlagSYN | forward.FlagRST,
}

// packet is one of a client, of a connection there is if there is any.
func (x *modelRun) packet(rt *rapid.T) {
	f := drawFlow(rt)
	if len(x.m.conns) > 0 && rapid.IntRange(0, 3).Draw(rt, "known") > 0 {
		f = x.drawConn(rt).modelFlow
	}
	x.fromClient(rt, f, rapid.SampledFrom(modelFlags).Draw(rt, "flags"))
}

// opening is a packet that may begin a connection.
func (x *modelRun) opening(rt *rapid.T) { x.fromClient(rt, drawFlow(rt), forward.FlagSYN) }

func (x *modelRun) fromClient(rt *rapid.T, f modelFlow, flags uint8) {
	got := x.see(rt, rigFrame(rigClient, f.proto, f.client, f.vip, flags), func(mac forward.MAC) bool { return mac != rigClient })
	if err := x.m.fromClient(f, flags, got); err != nil {
		rt.Fatalf("%v of %v: %v", flags, f, err)
	}
}

// reply is a packet of a server, of a connection there is if there is any.
func (x *modelRun) reply(rt *rapid.T) {
	f := drawFlow(rt)
	server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 6).Draw(rt, "server"))}), 8080)
	if len(x.m.conns) > 0 {
		c := x.drawConn(rt)
		f, server = c.modelFlow, netip.AddrPortFrom(c.server.addr.Addr(), c.port)
	}
	if f.vip.Addr().Is6() != server.Addr().Is6() {
		return
	}
	flags := rapid.SampledFrom(modelFlags).Draw(rt, "flags")
	got := x.see(rt, rigFrame(rigServerMAC(server.Addr()), f.proto, server, f.client, flags), func(mac forward.MAC) bool { return mac == rigClient })
	if err := x.m.fromServer(f.proto, server, f.client, flags, got); err != nil {
		rt.Fatalf("%v of %v: %v", flags, server, err)
	}
}

func (x *modelRun) drawConn(rt *rapid.T) *modelConn {
	list := make([]*modelConn, 0, len(x.m.conns))
	for _, c := range x.m.conns {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *modelConn) int {
		return 4*a.client.Compare(b.client) + 2*a.vip.Compare(b.vip) + int(a.proto) - int(b.proto)
	})
	return list[rapid.IntRange(0, len(list)-1).Draw(rt, "connection")]
}

// see has a worker deal with a frame, and reads those of the frames sent that
// interest.
func (x *modelRun) see(rt *rapid.T, frame []byte, interest func(forward.MAC) bool) seen {
	worker := 0
	if rapid.Bool().Draw(rt, "other worker") {
		worker = 1
	}
	reason, frames := x.handle(worker, frame)
	got := seen{reason: reason}
	for _, f := range frames {
		if !interest(forward.MAC(f)) {
			continue
		}
		var p forward.Packet
		if r := forward.Parse(&forward.Frame{Buf: f, Tail: len(f)}, &p); r != forward.None {
			rt.Fatalf("sent a frame that does not parse: %v", r)
		}
		got.frames++
		got.mac = forward.MAC(f)
		got.src = netip.AddrPortFrom(forward.Addr(p.Src).Netip(), p.SrcPort)
		got.dst = netip.AddrPortFrom(forward.Addr(p.Dst).Netip(), p.DstPort)
	}
	return got
}

// time passes.
func (x *modelRun) time(rt *rapid.T) {
	most := rapid.SampledFrom([]int{16, 200, 1000, 5000}).Draw(rt, "scale")
	x.pass(tick(rapid.IntRange(1, most).Draw(rt, "ticks")))
}

func (x *modelRun) pass(ticks tick) {
	x.advance(ticks)
	x.m.expire(x.tick(), x.again)
}

// again says until when the engine has put off the end of t, if it has. It goes through
// the last ticks one by one, and what is over before them at once.
func (x *modelRun) again(t *modelTemplate) (end tick, lives bool) {
	for elapsed := range tick(expireApart + 1) {
		later := *t
		later.timeout, later.end = templateStep, x.m.now-elapsed+templateStep
		want, more := later.describe(), 0
		x.b.plane.Entries(func(e *dataplane.Entry) bool {
			if describeEntry(x.rig, e) == want {
				more++
			}
			return true
		})
		for other := range x.m.allTemplates() {
			if other.describe() == want { // of two that were voided one may look like the other
				more--
			}
		}
		if more > 0 {
			return later.end, true
		}
	}
	return 0, false
}

// edit changes one thing of one service, and reloads.
func (x *modelRun) edit(rt *rapid.T) {
	cfg := x.m.cfg.clone()
	i := rapid.IntRange(0, len(cfg.services)-1).Draw(rt, "service")
	s := cfg.services[i]
	kind := rapid.SampledFrom([]string{"server", "remove", "persistence", "scheduler", "one packet", "service"}).Draw(rt, "edit")
	switch {
	case s == nil:
		cfg.services[i] = drawService(rt, i)
	case kind == "server":
		drawServer(rt, s)
	case kind == "remove" && len(s.servers) > 0:
		delete(s.servers, rapid.SampledFrom(modelAddrs(s.servers)).Draw(rt, "server"))
	case kind == "persistence":
		drawPersistence(rt, s)
	case kind == "scheduler":
		drawScheduler(rt, s)
	case kind == "one packet" && !s.grouped() && s.dests[0].proto == UDP:
		s.onePacket = !s.onePacket
		maps.DeleteFunc(s.servers, func(_ netip.AddrPort, d modelServerConfig) bool { return s.onePacket && d.method == NAT })
	case kind == "service":
		cfg.services[i] = nil
	}
	x.apply(rt, cfg)
}

// settings changes what goes for all services.
func (x *modelRun) settings(rt *rapid.T) {
	cfg := x.m.cfg.clone()
	cfg.expireNodest = rapid.Bool().Draw(rt, "expire_nodest_conn")
	cfg.expireQuiescent = rapid.Bool().Draw(rt, "expire_quiescent_template")
	cfg.sloppyTCP = rapid.Bool().Draw(rt, "sloppy_tcp")
	cfg.reuse = rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "conn_reuse_mode")
	cfg.timeouts = map[string]tick{}
	for _, state := range []string{"ES", "FW", "UDP"} {
		if rapid.Bool().Draw(rt, state) {
			cfg.timeouts[state] = tick(rapid.Uint32Range(1, 1000).Draw(rt, "timeout"))
		}
	}
	x.apply(rt, cfg)
}

func (x *modelRun) apply(rt *rapid.T, cfg modelConfig) {
	c := cfg.config()
	if err := x.b.Apply(context.Background(), c); err != nil {
		rt.Fatal(err)
	}
	x.b.plane.Expire()
	x.m.apply(cfg)
}

// weight sets one at run time.
func (x *modelRun) weight(rt *rapid.T) {
	d := x.drawServer(rt)
	if d == nil {
		return
	}
	d.weight = rapid.IntRange(0, 5).Draw(rt, "weight")
	if err := x.b.SetWeight(d.serverRef(), d.weight); err != nil {
		rt.Fatal(err)
	}
}

// state drains, halts or frees one.
func (x *modelRun) state(rt *rapid.T) {
	d := x.drawServer(rt)
	if d == nil {
		return
	}
	to := rapid.SampledFrom([]ServerState{StateActive, StateActive, StateDrain, StateHalt}).Draw(rt, "state")
	err := error(nil)
	switch to {
	case StateActive:
		err = x.b.Activate(d.serverRef())
	case StateDrain:
		err = x.b.Drain(d.serverRef(), 0)
	default:
		err = x.b.Halt(d.serverRef())
	}
	if err != nil {
		rt.Fatal(err)
	}
	x.m.setState(d, to)
}

func (x *modelRun) drawServer(rt *rapid.T) *modelServer {
	i := rapid.IntRange(0, len(modelServices)-1).Draw(rt, "service")
	s := x.m.cfg.services[i]
	if s == nil || len(s.servers) == 0 || s.grouped() {
		return nil
	}
	return x.m.servers[modelServerKey{i, rapid.SampledFrom(modelAddrs(s.servers)).Draw(rt, "server")}]
}

// check compares all every so many steps, and always what the step was about.
func (x *modelRun) check(rt *rapid.T) {
	if err := x.m.compareTouched(x.rig); err != nil {
		rt.Fatal(err)
	}
	x.steps++
	if x.steps%16 != 0 {
		return
	}
	if err := x.m.compare(x.rig); err != nil {
		rt.Fatal(err)
	}
	if err := x.audit(); err != nil {
		rt.Fatal(err)
	}
}

// drain lets everything expire, removes all servers, and wants nothing left.
func (x *modelRun) drain(rt *rapid.T) {
	for range 100 {
		if x.m.count() == 0 {
			break
		}
		x.pass(61 * ticksPerSecond)
		if err := x.m.compare(x.rig); err != nil {
			rt.Fatal(err)
		}
	}
	if n := x.b.plane.InUse(); n != 0 {
		rt.Fatalf("%d entries never expire", n)
	}
	if err := x.audit(); err != nil {
		rt.Fatal(err)
	}
	x.m.touched = nil
	none := x.m.cfg.clone()
	clear(none.services)
	x.apply(rt, none)
	x.pass(quietTime)
	x.apply(rt, none)
	for _, s := range x.b.plane.Servers() {
		rt.Fatalf("server %v of %s is not forgotten", s.AddrPort(), s.Service().ID())
	}
}
