package benchmarks

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// ways of waiting for packets.
var ways = []struct {
	name string
	spin time.Duration // 0 is the default
}{{"sleep", -1}, {"default", 0}, {"spin=100µs", 100 * time.Microsecond}, {"spin=1ms", time.Millisecond}, {"busy", afpacket.SpinForever}}

// BenchmarkWaiting is a datagram through golb's NAT to a server and back, one at a time:
// kernel stacks at both ends, AF_PACKET between, all on the processors of this machine.
// direct is without golb, by way of the kernel's own forwarding. Metrics: what the
// client waits, processor time of the whole process for each, and how late a timer of
// another goroutine is meanwhile.
func BenchmarkWaiting(b *testing.B) {
	for _, pace := range []time.Duration{0, 100 * time.Microsecond, 2 * time.Millisecond} {
		b.Run(fmt.Sprintf("direct/pace=%v", pace), func(b *testing.B) { newPingPong(b, nil, 0).run(b, pace) })
		for _, workers := range []int{1, 2} {
			for _, w := range ways {
				b.Run(fmt.Sprintf("%s/workers=%d/pace=%v", w.name, workers, pace), func(b *testing.B) {
					newPingPong(b, &w.spin, workers).run(b, pace)
				})
			}
		}
	}
}

// BenchmarkIdle is what golb takes of a processor when nothing comes, in percent.
func BenchmarkIdle(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			newPingPong(b, &w.spin, 2)
			before, begin := processorTime(), time.Now()
			for b.Loop() {
				time.Sleep(5 * time.Second)
			}
			b.ReportMetric(100*float64(processorTime()-before)/float64(time.Since(begin)), "cpu-%")
		})
	}
}

// pingPong is a client and a server that echoes.
type pingPong struct {
	client int // socket, connected
	number uint64
}

// echo sends a datagram and waits for the same.
func (x *pingPong) echo(buf []byte) bool {
	x.number++
	binary.NativeEndian.PutUint64(buf, x.number)
	_, _ = unix.Write(x.client, buf)
	for {
		if n, err := unix.Read(x.client, buf); err != nil {
			return false
		} else if n >= 8 && binary.NativeEndian.Uint64(buf) == x.number {
			return true
		}
	}
}

const (
	pingVIP    = "192.0.2.100"
	pingClient = "192.0.2.10"
	pingServer = "10.9.0.11"
)

// newPingPong builds a lab: the client on one side of golb's host, the server on the
// other. With spin nil the host forwards itself.
func newPingPong(b *testing.B, spin *time.Duration, workers int) *pingPong {
	if err := lab.Unavailable(); err != nil {
		b.Skip(err)
	}
	l, err := lab.New()
	check(b, err)
	b.Cleanup(func() { check(b, l.Close()) })
	hosts := map[string]*lab.Host{}
	for _, name := range []string{"client", "golb", "server"} {
		hosts[name], err = l.Host(name)
		check(b, err)
	}
	link := func(ifname, addr string) lab.LinkConfig {
		return lab.LinkConfig{Name: ifname, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	check(b, l.Connect(hosts["client"], link("eth0", pingClient+"/24"), hosts["golb"], link("eth0", "192.0.2.1/24")))
	check(b, l.Connect(hosts["server"], link("eth0", pingServer+"/24"), hosts["golb"], link("eth1", "10.9.0.1/24")))
	check(b, hosts["server"].DefaultRoute(netip.MustParseAddr("10.9.0.1")))
	to := pingVIP
	if spin == nil {
		to = pingServer
		check(b, hosts["client"].DefaultRoute(netip.MustParseAddr("192.0.2.1")))
		check(b, hosts["golb"].Sysctl("net/ipv4/ip_forward", "1"))
	} else {
		balance(b, hosts["golb"], *spin, workers)
	}
	serve(b, hosts["server"])
	x := &pingPong{client: udpSocket(b, hosts["client"], pingClient, to)}
	buf := make([]byte, 32)
	for i := 0; ; i++ { // resolve
		if x.echo(buf) {
			return x
		}
		if i == 50 {
			b.Fatal("no echo")
		}
	}
}

// balance runs golb on a host until the benchmark ends.
func balance(b *testing.B, h *lab.Host, spin time.Duration, workers int) {
	ready := make(chan struct{})
	cfg := lb.Config{Interfaces: []string{"eth0", "eth1"}, Workers: workers, MaxConnections: 1 << 16, Services: []lb.Service{{
		VIP: netip.MustParseAddr(pingVIP), Port: 7, Protocol: lb.UDP, Method: lb.NAT,
		Servers: []lb.Server{{Address: netip.MustParseAddr(pingServer), Port: 7}},
	}}}
	env := lb.Env{}
	env.OnEvent = func(e lb.Event) {
		if e.Kind == lb.EventReady {
			close(ready)
		}
	}
	env.OpenPorts = func(c lb.PortConfig) ([]lb.Port, error) {
		opened, err := afpacket.OpenGroup(afpacket.Config{Interface: c.Interface, SendOnly: c.SendOnly, Spin: spin}, c.Count)
		ports := make([]lb.Port, len(opened))
		for i, p := range opened {
			ports[i] = p
		}
		return ports, err
	}
	x, err := lb.New(cfg, env)
	check(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return x.Run(ctx) }) }()
	b.Cleanup(func() { cancel(); check(b, <-ended) })
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		b.Fatal(err)
	}
}

// udpSocket is one without Go's poller, whose own waiting would be measured too.
func udpSocket(b *testing.B, h *lab.Host, local, remote string) int {
	var fd int
	check(b, h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	b.Cleanup(func() { unix.Close(fd) })
	check(b, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	check(b, unix.Bind(fd, &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(local).As4()}))
	check(b, unix.Connect(fd, &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(remote).As4()}))
	return fd
}

func serve(b *testing.B, h *lab.Host) {
	fd := udpSocket(b, h, pingServer, pingClient)
	var stop atomic.Bool
	var serving sync.WaitGroup
	serving.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		buf := make([]byte, 100)
		for !stop.Load() {
			if n, err := unix.Read(fd, buf); err == nil {
				_, _ = unix.Write(fd, buf[:n])
			}
		}
	})
	b.Cleanup(func() { stop.Store(true); serving.Wait() })
}

func (x *pingPong) run(b *testing.B, pace time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stopTimers := watchTimers(b)
	buf := make([]byte, 32)
	var times []time.Duration
	lost := 0
	before := processorTime()
	for b.Loop() {
		if pace > 0 {
			ts := unix.NsecToTimespec(pace.Nanoseconds())
			_ = unix.Nanosleep(&ts, nil)
		}
		begin := time.Now()
		if !x.echo(buf) {
			lost++
			continue
		}
		times = append(times, time.Since(begin))
	}
	cpu := processorTime() - before
	if len(times) == 0 {
		b.Fatal("no echo")
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	for name, list := range map[string][]time.Duration{"": times, "timer-": stopTimers()} {
		slices.Sort(list)
		b.ReportMetric(us(list[len(list)/2]), name+"p50-µs")
		b.ReportMetric(us(list[len(list)*99/100]), name+"p99-µs")
	}
	b.ReportMetric(us(cpu)/float64(len(times)+lost), "cpu-µs/op")
	b.ReportMetric(float64(lost), "lost")
}

// watchTimers measures how late timers are until the function that it returns is called.
func watchTimers(b *testing.B) (stop func() []time.Duration) {
	end, list := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var delays []time.Duration
		for {
			begin := time.Now()
			const nap = time.Millisecond
			time.Sleep(nap)
			delays = append(delays, time.Since(begin)-nap)
			select {
			case <-end:
				list <- delays
				return
			default:
			}
		}
	}()
	return func() []time.Duration { close(end); return <-list }
}

// processorTime is that of the process so far.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
