package afpacket

import (
	"encoding/binary"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// method is a method of receiving: receive takes the frames that are there, poll waits for
// more for a limited time.
type method interface {
	receive(frames []forward.Frame) int
	poll()
}

// byRecvmmsg is a port without what Recv adds to recvmmsg: locks, spinning, Wake.
type byRecvmmsg struct{ *Port }

func (p byRecvmmsg) receive(frames []forward.Frame) int {
	n, errno := p.in.batch.recv(p.in.fd, min(len(frames), len(p.in.bufs)))
	if errno != 0 {
		return 0
	}
	return p.in.collect(frames, n)
}

func (p byRecvmmsg) poll() { _ = p.waker.sleep(100 * time.Millisecond) }

// byNothing receives nothing, to measure what sending costs.
type byNothing struct{ *Port }

func (byNothing) receive([]forward.Frame) int { return 0 }
func (byNothing) poll()                       {}

func openMethod(b *testing.B, h *lab.Host, name string, cfg Config, prog []bpf.RawInstruction) method {
	b.Helper()
	p := openPort(b, h, cfg)
	if name != "nothing" {
		must(b, attach(p.in.fd, prog))
	}
	var w method
	must(b, h.Do(func() error {
		switch name {
		case "nothing":
			w = byNothing{p}
		case "recvmmsg":
			w = byRecvmmsg{p}
		case "tpacket_v2":
			w = &ringV2{ring: openRing(b, unix.TPACKET_V2, p.Index(), prog)}
		case "tpacket_v3":
			w = &ringV3{ring: openRing(b, unix.TPACKET_V3, p.Index(), prog)}
		}
		return nil
	}))
	if name != "nothing" && name != "recvmmsg" {
		must(b, p.Close())
	}
	return w
}

func allIPv4(b *testing.B) []bpf.RawInstruction {
	prog, _, err := compile(vips("0.0.0.0/0"), nil)
	must(b, err)
	return prog
}

// superPacket is 64 KiB of TCP, to be split into segments of 1,460 bytes.
func superPacket(to forward.MAC) forward.Frame {
	const length = 65535
	b := ipFrame(netip.MustParseAddr(client4), netip.MustParseAddr(server4), 6, make([]byte, length-20)...)
	copy(b, to[:])
	binary.BigEndian.PutUint16(b[16:], length)
	b[22] = 64
	b[46] = 5 << 4
	f := asFrames(b)[0]
	f.Offload = forward.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 16, GSO: forward.GSOTCPv4, GSOSize: 1460, HdrLen: 54}
	return f
}

// BenchmarkReceive compares methods of receiving. One thread does all the work, also the
// sender's and the veth's, so that ns/op is all processor time for a frame; "nothing" is
// the part that is not receiving.
func BenchmarkReceive(b *testing.B) {
	for _, name := range []string{"nothing", "recvmmsg", "tpacket_v2", "tpacket_v3"} {
		for _, size := range []string{"64B", "64KiB"} {
			b.Run(name+"/"+size, func(b *testing.B) {
				ha, hb := newLink(b)
				a := openPort(b, ha, Config{Interface: "eth0"})
				w := openMethod(b, hb, name, Config{Interface: "eth0", ReceiveBuffer: 32 << 20}, allIPv4(b))
				to := openPort(b, hb, Config{Interface: "eth0", SendOnly: true}).MAC()
				list := slices.Repeat(asFrames(udpFrame(to, server4, 1, 1, string(make([]byte, 22)))), 64)
				if size == "64KiB" {
					list = []forward.Frame{superPacket(to)}
				}
				b.ReportAllocs()
				b.SetBytes(int64(list[0].Len()))
				pump(b, a, list, w)
			})
		}
	}
}

// pump sends and receives b.N frames. On a busy machine the mean says little, so p10-ns is
// the tenth percentile, over windows, of the time for a frame.
func pump(b *testing.B, a *Port, list []forward.Frame, w method) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames := make([]forward.Frame, 64)
	_, discard := w.(byNothing)
	var touched byte
	sent, got := 0, 0
	take := func() int {
		n := w.receive(frames)
		for i := range frames[:n] {
			touched += frames[i].Bytes()[30] // a port's user looks at least at the destination
		}
		got += n
		return n
	}
	window := 16 * len(list)
	windows := make([]float64, 0, b.N/window+1)
	b.ResetTimer()
	start, from := time.Now(), 0
	for sent < b.N {
		n, err := a.Send(list[:min(len(list), b.N-sent)])
		must(b, err)
		sent += n
		for take() > 0 {
		}
		if sent-from >= window {
			windows = append(windows, float64(time.Since(start))/float64(sent-from))
			start, from = time.Now(), sent
		}
	}
	for start := time.Now(); got < sent && !discard; {
		if take() == 0 {
			w.poll()
		}
		if time.Since(start) > 5*time.Second {
			b.Fatalf("%d frames of %d received", got, sent)
		}
	}
	b.StopTimer()
	if slices.Sort(windows); len(windows) > 0 {
		b.ReportMetric(windows[len(windows)/10], "p10-ns")
	}
	runtime.KeepAlive(touched)
}

// BenchmarkBulk measures one TCP connection through two ports: ns/op is for 64 KiB.
func BenchmarkBulk(b *testing.B) {
	for _, bb := range []struct{ name, method string }{
		{"kernel", ""}, {"recvmmsg", "port"}, {"tpacket_v2", "tpacket_v2"}, {"tpacket_v3", "tpacket_v3"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			client, server := echoHosts(b, bb.method, 0)
			sendBulk(b, client, server)
		})
	}
}

// sendBulk sends 64 KiB for each operation, and reports the time of all processors.
func sendBulk(b *testing.B, client, server *lab.Host) {
	b.Helper()
	ln, err := server.Listen(b.Context(), "tcp", server4+":0")
	must(b, err)
	defer ln.Close()
	done := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- 0
			return
		}
		defer c.Close()
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		done <- n
	}()
	c, err := client.DialContext(b.Context(), "tcp", ln.Addr().String())
	must(b, err)
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	before := processorTime(b, unix.RUSAGE_SELF)
	b.ResetTimer()
	for range b.N {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	must(b, c.Close())
	if n := <-done; n != int64(b.N*len(buf)) {
		b.Fatalf("%d bytes arrived", n)
	}
	b.ReportMetric(float64(processorTime(b, unix.RUSAGE_SELF)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkEcho measures one UDP datagram there and back, in each direction through one receive
// and one send. "kernel" is a bridge of the kernel's own instead. The spinning times are those
// of Config.Spin; the rings always sleep.
func BenchmarkEcho(b *testing.B) {
	for _, bb := range []struct {
		name, method string
		spin         time.Duration
	}{
		{"kernel", "", 0},
		{"recvmmsg,spin=0", "port", -1},
		{"recvmmsg,spin=20us", "port", 20 * time.Microsecond},
		{"recvmmsg,spin=200us", "port", 200 * time.Microsecond},
		{"recvmmsg,spin=always", "port", SpinForever},
		{"tpacket_v2", "tpacket_v2", 0},
		{"tpacket_v3", "tpacket_v3", 0},
	} {
		for _, pace := range []time.Duration{0, time.Millisecond} {
			b.Run(bb.name+"/pace="+pace.String(), func(b *testing.B) {
				client, server := echoHosts(b, bb.method, bb.spin)
				serveEcho(b, server)
				echo(b, client, pace)
			})
		}
	}
}

func echoHosts(b *testing.B, name string, spin time.Duration) (client, server *lab.Host) {
	w := newWire(b, 0)
	switch name {
	case "":
		return bridged(b, w.lab)
	case "port":
		w.bridge(b, Config{Spin: spin})
	default:
		cfg := Config{Interface: "eth0"}
		wa, pa := openMethod(b, w.middle, name, cfg, passAllProgram(b)), openPort(b, w.middle, Config{Interface: "eth0", SendOnly: true})
		cfg.Interface = "eth1"
		wb, pb := openMethod(b, w.middle, name, cfg, passAllProgram(b)), openPort(b, w.middle, Config{Interface: "eth1", SendOnly: true})
		var stop atomic.Bool
		var carriers sync.WaitGroup
		carriers.Go(func() { carryBy(wa, pb, &stop) })
		carriers.Go(func() { carryBy(wb, pa, &stop) })
		b.Cleanup(func() { stop.Store(true); carriers.Wait() })
	}
	return w.client, w.server
}

func bridged(b *testing.B, l *lab.Lab) (client, server *lab.Host) {
	sw, err := l.Switch("switch")
	must(b, err)
	for _, h := range []struct {
		name, addr string
		host       **lab.Host
	}{{"bridged-client", client4, &client}, {"bridged-server", server4, &server}} {
		*h.host, err = l.Host(h.name)
		must(b, err)
		_, err = l.Attach(*h.host, sw, lab.LinkConfig{Addrs: prefixes(h.addr + "/24")})
		must(b, err)
	}
	return client, server
}

func carryBy(from method, to *Port, stop *atomic.Bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames := make([]forward.Frame, 64)
	for !stop.Load() {
		n := from.receive(frames)
		if n == 0 {
			from.poll()
			continue
		}
		_, _ = to.Send(frames[:n])
	}
}

// blocking is a UDP socket without Go's poller, which would take half of the time measured.
func blocking(b *testing.B, h *lab.Host, local, remote string) int {
	var fd int
	must(b, h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	b.Cleanup(func() { unix.Close(fd) })
	must(b, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	must(b, unix.Bind(fd, &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(local).As4()}))
	must(b, unix.Connect(fd, &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(remote).As4()}))
	return fd
}

func serveEcho(b *testing.B, h *lab.Host) {
	fd := blocking(b, h, server4, client4)
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

func echo(b *testing.B, h *lab.Host, pace time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd := blocking(b, h, client4, server4)
	buf := make([]byte, 32)
	oneRound := func() (time.Duration, bool) {
		start := time.Now()
		if _, err := unix.Write(fd, buf); err != nil {
			return 0, false
		}
		_, err := unix.Read(fd, buf)
		return time.Since(start), err == nil
	}
	for i := 0; ; i++ { // until addresses are resolved
		if _, ok := oneRound(); ok {
			break
		}
		if i == 50 {
			b.Fatal("no echo")
		}
	}
	times := make([]time.Duration, 0, b.N)
	before := processorTime(b, unix.RUSAGE_SELF)
	b.ResetTimer()
	for range b.N {
		if pace > 0 {
			ts := unix.NsecToTimespec(pace.Nanoseconds())
			_ = unix.Nanosleep(&ts, nil)
		}
		d, ok := oneRound()
		if ok {
			times = append(times, d)
		}
	}
	b.StopTimer()
	if len(times) == 0 {
		b.Fatal("no echo")
	}
	b.ReportMetric(float64(b.N-len(times)), "lost")
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-us")
	b.ReportMetric(float64((processorTime(b, unix.RUSAGE_SELF)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

func processorTime(b *testing.B, whose int) time.Duration {
	var r unix.Rusage
	must(b, unix.Getrusage(whose, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkIdle measures the processor time of a port in a second without frames.
func BenchmarkIdle(b *testing.B) {
	ha, hb := newLink(b)
	p := openPort(b, hb, quietConfig())
	sendAll(b, openPort(b, ha, Config{Interface: "eth0"}), udpFrame(p.MAC(), server4, 1, 1, "end"))
	receive(b, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = p.Recv(make([]forward.Frame, 1))
	}()
	before := processorTime(b, unix.RUSAGE_SELF)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric(float64((processorTime(b, unix.RUSAGE_SELF)-before).Microseconds())/float64(b.N), "cpu-us/s")
	p.Wake()
	<-done
}
