package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// Simulator is a balancer in a World. It is not safe for concurrent use.
type Simulator struct {
	world    World
	clock    *lbtest.Clock
	wire     *lbtest.Wire
	cfg      lb.Config
	balancer *lb.Balancer
	sent     []Frame  // what the balancer sent since the last packet
	drops    lb.Drops // as of the last packet

	ready  chan struct{}      // closed once the balancer forwards
	cancel context.CancelFunc // nil until then
	done   chan error         // what Run returned
}

// Frame is an Ethernet frame that the balancer sent.
type Frame struct {
	Dst, Src forward.MAC
	Packet   []byte // from the IP header on
}

// Step is what became of one packet.
type Step struct {
	// Frames are what the balancer sent for it, in order: to a server, to the
	// client, or answers of its own.
	Frames []Frame
	// Reason is why it was not forwarded, an lb.Reason in words; "" where it was.
	Reason string
	// Connection is the one that the packet belongs to, nil where there is none.
	Connection *lb.Connection
}

// maxConnections is the size of the table where the config names none.
const maxConnections = 1 << 14

// New makes a simulator of a config. The interfaces and the number of workers are the
// world's; all else is the config's. Health checks are too: give them the type none where
// no server is there to answer.
func New(cfg lb.Config, w World) (*Simulator, error) {
	s := &Simulator{world: w.withDefaults(), wire: lbtest.NewWire(), ready: make(chan struct{})}
	s.clock = lbtest.NewClock(s.world.Start)
	s.wire.Sniff(s.sniff)
	s.cfg = s.fit(cfg)
	var err error
	if s.balancer, err = lb.New(s.cfg, s.env()); err != nil {
		return nil, err
	}
	return s, nil
}

// fit puts the world into a config.
func (s *Simulator) fit(cfg lb.Config) lb.Config {
	cfg.Interfaces, cfg.Workers = []string{s.world.Interface}, 1
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = maxConnections
	}
	return cfg
}

// env is the world as a balancer takes it.
func (s *Simulator) env() lb.Env {
	env := s.world.Env
	env.Now, env.Rand, env.Route = s.clock.Now, random(s.world.Seed), s.world.route
	env.OnEvent = func(e lb.Event) {
		if s.world.Env.OnEvent != nil {
			s.world.Env.OnEvent(e)
		}
		if e.Kind == lb.EventReady {
			close(s.ready)
		}
	}
	env.OpenPorts = func(lb.PortConfig) ([]lb.Port, error) {
		return []lb.Port{s.wire.Port(s.world.MAC, s.world.MTU)}, nil
	}
	env.OpenLink = func(lb.LinkConfig) (lb.Link, error) {
		return &lbtest.Link{MAC: func(a netip.Addr) (forward.MAC, bool) { return s.world.MACOf(a), true }}, nil
	}
	return env
}

// random is lb.Env.Rand: the same numbers for the same seed.
func random(seed uint64) func() uint64 {
	var mu sync.Mutex
	source := rand.NewPCG(seed, seed)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Uint64()
	}
}

// Apply changes the configuration, as lb.Balancer.Apply does.
func (s *Simulator) Apply(ctx context.Context, cfg lb.Config) error {
	cfg = s.fit(cfg)
	if err := s.balancer.Apply(ctx, cfg); err != nil {
		return err
	}
	s.cfg = cfg
	return nil
}

// Balancer is the balancer itself, to list and count.
func (s *Simulator) Balancer() *lb.Balancer { return s.balancer }

// Advance turns the clock on. What expires by then is gone, each at its time:
// whether a template ends depends on the connections that there still are.
func (s *Simulator) Advance(d time.Duration) {
	for d > expireStep {
		next := d
		s.balancer.Connections(func(c lb.Connection) bool {
			next = min(next, max(c.Expires, expireStep))
			return true
		})
		s.clock.Advance(next)
		d -= next
	}
	s.clock.Advance(d)
	s.balancer.Stats() // what servers that are gone have left ends by itself
}

// expireStep is at most the balancer's own unit of time, so that none of what expires
// is passed over, and not 0, so that what is about to expire does.
const expireStep = time.Second / 16

// Send gives the balancer an IP packet, from the MAC that its source address
// says, and returns when all that follows from it is done. It fails where the
// bytes are no IP packet, and where the world does not fit the config. A server that the
// world has no way to is down.
func (s *Simulator) Send(packet []byte) (Step, error) {
	src, err := source(packet)
	if err != nil {
		return Step{}, err
	}
	if err := s.start(); err != nil {
		return Step{}, err
	}
	s.balancer.Stats() // expires what is due, before the packet finds it
	s.sent = nil
	frame := ethernet(Frame{Dst: s.world.MAC, Src: s.world.sender(src), Packet: packet})
	s.wire.Inject(lbtest.Frame{Data: frame})
	return Step{Frames: s.sent, Reason: s.reason(), Connection: s.connection(frame)}, nil
}

// source is the source address of an IP packet.
func source(packet []byte) (netip.Addr, error) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[12:])), nil
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[8:])), nil
	}
	return netip.Addr{}, fmt.Errorf("not an IPv4 or IPv6 packet: %x", packet[:min(len(packet), 40)])
}

func ethernet(f Frame) []byte {
	b := append(f.Dst[:], f.Src[:]...)
	if f.Packet[0]>>4 == 4 {
		b = append(b, 0x08, 0x00)
	} else {
		b = append(b, 0x86, 0xdd)
	}
	return append(b, f.Packet...)
}

// sniff notes what the balancer sends.
func (s *Simulator) sniff(f lbtest.Frame) {
	const header = forward.EthernetLen
	if len(f.Data) < header || forward.MAC(f.Data[6:]) != s.world.MAC {
		return
	}
	s.sent = append(s.sent, Frame{
		Dst: forward.MAC(f.Data), Src: forward.MAC(f.Data[6:]),
		Packet: append([]byte(nil), f.Data[header:]...),
	})
}

// reason finds the counter of drops that the packet has moved.
func (s *Simulator) reason() string {
	before := s.drops
	s.drops = s.balancer.Stats().Drops
	for reason, n := range s.drops {
		if n > before[reason] {
			return reason.String()
		}
	}
	return ""
}

// connection finds the connection of a frame, in either direction.
func (s *Simulator) connection(frame []byte) *lb.Connection {
	var p forward.Packet
	f := forward.Frame{Buf: frame, Tail: len(frame)}
	if forward.Parse(&f, &p) != forward.None || p.Frag == forward.LaterFrag {
		return nil
	}
	src := netip.AddrPortFrom(p.Src.Netip(), p.SrcPort)
	dst := netip.AddrPortFrom(p.Dst.Netip(), p.DstPort)
	proto := lb.Protocol(p.Proto)
	if c, ok := s.balancer.Connection(proto, src, dst); ok {
		return &c
	}
	var found *lb.Connection
	s.balancer.Connections(func(c lb.Connection) bool {
		if c.Protocol == proto && c.Server == src && c.Client == dst && !c.Template {
			found = &c
		}
		return found == nil
	})
	return found
}

// start runs the balancer, if it does not yet.
func (s *Simulator) start() error {
	if s.cancel != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.done = make(chan error, 1)
	go func() { s.done <- s.balancer.Run(ctx) }()
	select {
	case <-s.ready:
		s.cancel = cancel
		return nil
	case err := <-s.done:
		cancel()
		return fmt.Errorf("simulate: %w", err)
	}
}

// Close ends the simulator.
func (s *Simulator) Close() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	return <-s.done
}
