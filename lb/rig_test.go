package lb

import (
	"cmp"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// rig is a balancer that was opened but does not run: tests hand its workers their
// frames, and turn its clock.
type rig struct {
	b     *Balancer
	n     *network
	now   time.Time
	ports []*rigPort
	hooks func(*Env) // adds to the environment; nil adds nothing
	gso   [2]bool    // super-packets that ports take: of TCP, of UDP
	crowd bool       // several workers are at it at once: see dataplane.Plane.Audit
}

const (
	rigInterface   = "rig0"
	ticksPerSecond = dataplane.TicksPerSecond
	batchSize      = 64
	forwarded      = Reason(forward.None)
	consumed       = Reason(dataplane.NumReasons) // other frames carry what the frame did
)

type tick = dataplane.Tick

var (
	rigMAC    = forward.MAC{2, 0, 0, 0, 0, 1}
	rigClient = forward.MAC{2, 0, 0, 0, 0, 0xfe}
)

// rigServerMAC is where a server is.
func rigServerMAC(a netip.Addr) forward.MAC {
	b := a.As16()
	return forward.MAC{2, 1, b[0], b[1], b[14], b[15]}
}

// fataler is what tests, benchmarks and properties have in common.
type fataler interface {
	Helper()
	Fatal(...any)
}

// newRig opens a balancer of cfg, whose Interfaces it fills in.
func newRig(t fataler, cfg Config) *rig {
	t.Helper()
	r := &rig{gso: [2]bool{true, true}}
	return newRigWith(t, r, cfg, 0)
}

// newRigWith is newRig with an index of so many buckets.
func newRigWith(t fataler, r *rig, cfg Config, buckets int) *rig {
	t.Helper()
	r.now = time.Unix(1e9, 0)
	cfg = withoutFirstChecks(cfg)
	cfg.Interfaces = []string{rigInterface}
	env := rigEnv()
	if r.hooks != nil {
		r.hooks(&env)
	}
	env.Now = func() time.Time { return r.now }
	env.OpenPorts = func(c PortConfig) ([]Port, error) {
		list := make([]Port, c.Count)
		for i := range list {
			p := &rigPort{gso: r.gso}
			r.ports = append(r.ports, p)
			list[i] = p
		}
		return list, nil
	}
	var err error
	if r.b, err = newBalancer(cfg, env, buckets); err != nil {
		t.Fatal(err)
	}
	if r.n, err = r.b.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// withoutFirstChecks returns cfg with servers that need no first check, since nobody makes
// one, unless cfg says that they do.
func withoutFirstChecks(cfg Config) Config {
	cfg = cfg.clone()
	for i := range cfg.Services {
		s := &cfg.Services[i]
		s.Check.Unchecked = cmp.Or(s.Check.Unchecked, uncheckedUp)
		for k := range s.MoreChecks {
			s.MoreChecks[k].Unchecked = cmp.Or(s.MoreChecks[k].Unchecked, uncheckedUp)
		}
	}
	return cfg
}

// rigEnv is a world of neighbors that are all known.
func rigEnv() Env {
	return Env{
		OpenLink: func(LinkConfig) (Link, error) { return rigLink{}, nil },
		Route:    func(a netip.Addr) (Route, error) { return Route{Interface: rigInterface, Source: rigSource(a)}, nil },
		Rand:     rand.New(rand.NewPCG(1, 2)).Uint64,
	}
}

// rigSource is the balancer's own address towards a.
func rigSource(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.MustParseAddr("2001:db8::1")
	}
	return netip.MustParseAddr("192.0.2.1")
}

// advance turns the clock and has expired what is to expire.
func (r *rig) advance(ticks tick) {
	r.now = r.now.Add(time.Duration(ticks) * time.Second / ticksPerSecond)
	r.b.plane.Expire()
}

// tick is that of the data plane's clock.
func (r *rig) tick() tick { return dataplane.Ticks(r.now.Sub(r.b.start)) + 1 }

// handle has a worker forward one frame, and returns why it did not, and what was
// sent.
func (r *rig) handle(worker int, frame []byte) (Reason, [][]byte) {
	w, p := r.n.workers[worker], r.ports[worker]
	before := w.Drops()
	p.keep, p.sent = true, p.sent[:0]
	buf := append(make([]byte, forward.Headroom, forward.Headroom+len(frame)+64), frame...)
	w.Handle([]forward.Frame{{Buf: buf[:cap(buf)], Head: forward.Headroom, Tail: len(buf)}})
	for reason, n := range w.Drops() {
		if n != before[reason] {
			return Reason(reason), p.sent
		}
	}
	return forwarded, p.sent
}

// rigPort swallows what is sent, or keeps copies of it.
type rigPort struct {
	keep bool
	sent [][]byte
	n    int
	gso  [2]bool // TCP, UDP
}

func (p *rigPort) Send(frames []forward.Frame) (int, error) {
	p.n += len(frames)
	if p.keep {
		for i := range frames {
			p.sent = append(p.sent, append([]byte(nil), frames[i].Bytes()...))
		}
	}
	return len(frames), nil
}

func (p *rigPort) Recv([]forward.Frame) (int, error)      { return 0, net.ErrClosed }
func (p *rigPort) Wake()                                  {}
func (p *rigPort) SetFilter(forward.Filter) (bool, error) { return true, nil }
func (p *rigPort) Stats() forward.PortStats               { return forward.PortStats{} }
func (p *rigPort) MAC() forward.MAC                       { return rigMAC }
func (p *rigPort) MTU() int                               { return 1500 }
func (p *rigPort) Close() error                           { return nil }
func (p *rigPort) GSO() (tcp, udp bool)                   { return p.gso[0], p.gso[1] }

// rigLink knows where everybody is.
type rigLink struct{}

func (rigLink) Run(ctx context.Context) error                 { <-ctx.Done(); return nil }
func (rigLink) Stats() LinkStats                              { return LinkStats{} }
func (rigLink) SetVIPs([]LinkVIP) error                       { return nil }
func (rigLink) Probe(context.Context, ...netip.Addr) error    { return nil }
func (rigLink) Announce(context.Context, ...netip.Addr) error { return nil }
func (rigLink) Close() error                                  { return nil }
func (rigLink) Resolve(a netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	changed(rigServerMAC(a), true)
	return func() {}
}

// rigFrame builds a TCP segment or UDP datagram without payload, with right
// checksums.
func rigFrame(srcMAC forward.MAC, proto Protocol, src, dst netip.AddrPort, flags uint8) []byte {
	l4 := make([]byte, 8, 40)
	if proto == TCP {
		l4 = l4[:20]
		l4[12], l4[13] = 5<<4, flags
	} else {
		binary.BigEndian.PutUint16(l4[4:], 8)
	}
	binary.BigEndian.PutUint16(l4[0:], src.Port())
	binary.BigEndian.PutUint16(l4[2:], dst.Port())
	sum := rigSum(0, src.Addr().AsSlice())
	sum = rigSum(sum, dst.Addr().AsSlice()) + uint32(proto) + uint32(len(l4))
	at := 16
	if proto == UDP {
		at = 6
	}
	binary.BigEndian.PutUint16(l4[at:], rigFold(rigSum(sum, l4)))
	b := append(rigMAC[:], srcMAC[:]...)
	return append(append(b, rigHeader(proto, src.Addr(), dst.Addr(), len(l4))...), l4...)
}

// rigHeader builds EtherType and IP header.
func rigHeader(proto Protocol, src, dst netip.Addr, payload int) []byte {
	if src.Is6() {
		b := []byte{0x86, 0xdd, 6 << 4, 0, 0, 0, byte(payload >> 8), byte(payload), byte(proto), 64}
		return append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	b := []byte{0x08, 0x00, 4<<4 | 5, 0, byte((payload + 20) >> 8), byte(payload + 20), 0, 1, 0, 0, 64, byte(proto), 0, 0}
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[12:], rigFold(rigSum(0, b[2:])))
	return b
}

// rigHeaderSum makes the IPv4 header checksum of a frame right.
func rigHeaderSum(f []byte) {
	f[14+10], f[14+11] = 0, 0
	binary.BigEndian.PutUint16(f[14+10:], rigFold(rigSum(0, f[14:34])))
}

func rigSum(sum uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 != 0 {
		sum += uint32(b[len(b)-1]) << 8
	}
	return sum
}

func rigFold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
