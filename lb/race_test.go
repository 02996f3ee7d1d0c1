package lb

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// TestEverythingAtOnce is for the race detector: eight workers of two interfaces
// that all see packets of the same few flows, and replies to them, while every method of
// Balancer is called, links take their time to probe, servers fail and come back, and
// connections expire, since time runs two hundred times as fast. In the end all counts
// must agree and nothing be left.
func TestEverythingAtOnce(t *testing.T) {
	const speed, enough = 200, 100 // entries at once
	start := time.Now()
	later := time.Duration(0)
	now := func() time.Time { return start.Add(time.Since(start)*speed + later) }
	cfg, env := crowdConfig(0), crowdEnv()
	env.Now = now
	b, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	length := 2 * time.Second
	if testing.Short() {
		length /= 4
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var tasks sync.WaitGroup
	most := 0
	tasks.Go(func() { // on a busy machine it takes longer until there is something to see
		for time.Since(start) < length || most < enough && time.Since(start) < time.Minute {
			most = max(most, b.plane.InUse())
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	})
	for _, call := range crowdCalls(ctx, t, b) {
		tasks.Go(func() {
			for ctx.Err() == nil {
				call()
				time.Sleep(time.Duration(1+rand.N(5)) * time.Millisecond)
			}
		})
	}
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	tasks.Wait()

	r := &rig{b: b, crowd: true}
	if err := r.audit(); err != nil {
		t.Fatal(err)
	}
	if most < enough {
		t.Errorf("at most %d entries were in use: there was no traffic to speak of", most)
	}
	for range 100 {
		later += time.Minute
		b.plane.Expire()
	}
	if err := r.audit(); err != nil {
		t.Fatal(err)
	}
	if n := b.plane.InUse(); n != 0 {
		t.Errorf("%d entries never expire", n)
	}
}

var (
	crowdVIP  = netip.MustParseAddrPort("192.0.2.80:80")
	crowdVIP2 = netip.MustParseAddrPort("192.0.2.81:53")
)

func crowdClient(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), uint16(1024+n))
}

func crowdServer(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// crowdConfig is one of several configurations.
func crowdConfig(n int) Config {
	web := Service{VIP: crowdVIP.Addr(), Port: crowdVIP.Port(), Method: NAT}
	web.Scheduler = []string{"wlc", "rr", "lblcr", "mh"}[n%4]
	web.Check = Check{Type: "tcp", Interval: 20 * time.Millisecond, Timeout: 10 * time.Millisecond, Fall: 1}
	if n%3 == 0 {
		web.Persistence = Persistence{Timeout: 30 * time.Second, Prefix: 29}
	}
	dns := Service{VIP: crowdVIP2.Addr(), Port: crowdVIP2.Port(), Protocol: UDP, OnePacket: n%5 == 0}
	for i := 1; i <= 6; i++ {
		if (n+i)%4 != 0 {
			web.Servers = append(web.Servers, Server{Address: crowdServer(i), UpperThreshold: (n + i) % 5 * 10})
		}
		if (n+i)%3 != 0 {
			dns.Servers = append(dns.Servers, Server{Address: crowdServer(i)})
		}
	}
	cfg := Config{Interfaces: []string{"rig0", "rig1"}, Workers: 4, MaxConnections: minConnections, Services: []Service{web, dns}}
	if n%7 == 6 {
		cfg.Services = cfg.Services[:1]
	}
	return cfg
}

func crowdEnv() Env {
	env := rigEnv()
	env.Rand = nil
	env.Route = func(a netip.Addr) (Route, error) {
		return Route{Interface: "rig1", Source: rigSource(a)}, nil
	}
	env.OpenPorts = func(c PortConfig) ([]Port, error) {
		list := make([]Port, c.Count)
		for i := range list {
			list[i] = &loopPort{next: crowdTraffic()}
		}
		return list, nil
	}
	env.OpenLink = func(LinkConfig) (Link, error) { return slowLink{}, nil }
	env.Dial = func(context.Context, string, string) (net.Conn, error) {
		if rand.N(4) == 0 {
			return nil, errors.New("down for a moment")
		}
		c, _ := net.Pipe()
		return c, nil
	}
	return env
}

// crowdTraffic fills batches with packets of some hundred flows, and of servers that
// answer them.
func crowdTraffic() func([]forward.Frame) int {
	var frames [][]byte
	for n := range 200 {
		c := crowdClient(n)
		for _, flags := range []uint8{forward.FlagSYN, forward.FlagACK, forward.FlagACK, forward.FlagFIN | forward.FlagACK, forward.FlagRST} {
			frames = append(frames, rigFrame(rigClient, TCP, c, crowdVIP, flags))
			from := netip.AddrPortFrom(crowdServer(1+n%6), crowdVIP.Port())
			frames = append(frames, rigFrame(rigServerMAC(from.Addr()), TCP, from, c, forward.FlagACK|flags&forward.FlagFIN))
		}
		frames = append(frames, rigFrame(rigClient, UDP, c, crowdVIP2, 0))
	}
	bufs := make([][]byte, batchSize)
	for i := range bufs {
		bufs[i] = make([]byte, forward.Headroom+256)
	}
	return func(batch []forward.Frame) int {
		n := 1 + rand.N(len(batch))
		for i := range batch[:n] {
			f := frames[rand.N(len(frames))]
			batch[i] = forward.Frame{Buf: bufs[i], Head: forward.Headroom, Tail: forward.Headroom + copy(bufs[i][forward.Headroom:], f)}
		}
		return n
	}
}

// loopPort is a port whose frames come from a function, for balancers that run.
type loopPort struct {
	rigPort
	next   func(frames []forward.Frame) int
	closed atomic.Bool
}

func (p *loopPort) Recv(frames []forward.Frame) (int, error) {
	if p.closed.Load() {
		return 0, net.ErrClosed
	}
	return p.next(frames), nil
}

func (p *loopPort) Send(frames []forward.Frame) (int, error) { return len(frames), nil }

func (p *loopPort) Close() error {
	p.closed.Store(true)
	return nil
}
