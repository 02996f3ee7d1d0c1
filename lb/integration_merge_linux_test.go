package lb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// openedPorts are the ports that a balancer opened, to read their counters.
type openedPorts struct {
	mu   sync.Mutex
	list []*afpacket.Port
}

func (o *openedPorts) open(cfg lb.PortConfig) ([]lb.Port, error) {
	opened, err := afpacket.OpenGroup(afpacket.Config{Interface: cfg.Interface, SendOnly: cfg.SendOnly}, cfg.Count)
	o.mu.Lock()
	defer o.mu.Unlock()
	ports := make([]lb.Port, len(opened))
	for i, p := range opened {
		o.list = append(o.list, p)
		ports[i] = p
	}
	return ports, err
}

// stats adds up the counters of all ports.
func (o *openedPorts) stats() (sum forward.PortStats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.list {
		s := p.Stats()
		sum.Received += s.Received
		sum.ReceivedBytes += s.ReceivedBytes
		sum.Sent += s.Sent
		sum.SendRefused += s.SendRefused
	}
	return sum
}

// sendPlain has hosts send packets of the MTU, one by one. Without GRO on the way, as on
// a veth, golb receives them so.
func sendPlain(t *testing.T, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		must(t, h.SetFeatures("eth0", false, "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation", "rx-gro"))
	}
}

func TestTransfersOfPlainPacketsLeaveMergedAndArriveWhole(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	p.ways = slices.DeleteFunc(p.ways, func(w way) bool { return w.mixed || w.tunnel.Checksum })
	sendPlain(t, p.hosts...)
	sendPlain(t, p.golb)
	must(t, p.golb.SetFeatures("eth0", true, "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"))
	ports := &openedPorts{}
	b, stop := p.runIn(lb.Env{OpenPorts: ports.open}, p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		size := int64(4 << 20)
		if !testing.Short() && w.method != lb.TUN {
			size = 256 << 20
		}
		before := ports.stats()
		p.transfer(t, w, f, size)
		now := ports.stats()
		in, out := now.Received-before.Received, now.Sent-before.Sent
		t.Logf("%d frames in, %d bytes each, %d out", in, (now.ReceivedBytes-before.ReceivedBytes)/in, out)
		if (now.ReceivedBytes-before.ReceivedBytes)/in > 1514 {
			t.Errorf("packets came merged: this shows nothing")
		}
		if merged := out < in*9/10; merged != (w.method != lb.TUN) {
			t.Errorf("%d frames in, %d out", in, out)
		}
	})
	if n := ports.stats().SendRefused; n > 0 {
		t.Errorf("the kernel refused %d frames", n)
	}
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	p.checkRetransmissions(t)
}

// On golb's cable here no super-packet passes: what golb has merged its kernel takes apart
// again. Packets that arrive are those that the client sent, but for MAC and TTL, to the
// bit.
func TestWhatLeftMergedArrivesAsItWasSent(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	without(t, p.client, "eth0")
	without(t, p.golb, "eth0")
	without(t, p.golb, "eth1")
	ports := &openedPorts{}
	_, stop := p.runIn(lb.Env{OpenPorts: ports.open}, p.config())
	defer stop()
	w, server := p.ways[0], p.hosts[1]
	for _, f := range families {
		for _, proto := range []lb.Protocol{lb.TCP, lb.UDP} {
			t.Run(fmt.Sprintf("%v/%v", proto, f), func(t *testing.T) {
				sent, arrived := startPacketCounter(t, p.client, w.vips[f], proto), startPacketCounter(t, server, w.vips[f], proto)
				before := ports.stats()
				if proto == lb.TCP {
					want, err := sumOf(noise(8 << 20))
					must(t, err)
					c := newHTTPClient(p.client)
					up(t, c, w.vips[f], 8<<20, want)
				} else {
					sendBursts(t, p.dialEcho(t, w, f))
				}
				want := sent.end(t)
				arrived.await(len(want) * 9 / 10)
				got := arrived.end(t)
				want = sent.end(t) // with what was sent since
				now := ports.stats()
				in, out := now.Received-before.Received, now.Sent-before.Sent
				t.Logf("%d packets sent, %d arrived; golb: %d in, %d out", len(want), len(got), in, out)
				if out >= in {
					t.Error("nothing was merged: this shows nothing")
				}
				if len(got) < len(want)*9/10 {
					t.Errorf("%d packets of %d arrived", len(got), len(want))
				}
				for packet, n := range got {
					if n > want[packet] {
						t.Fatalf("arrived and was not sent: %x", packet[:min(100, len(packet))])
					}
				}
			})
		}
	}
}

// sendBursts sends datagrams of which some follow each other closely.
func sendBursts(t *testing.T, c net.Conn) {
	t.Helper()
	payload := make([]byte, 1200)
	for burst := range 100 {
		for i := range 30 {
			binary.BigEndian.PutUint32(payload, uint32(burst*30+i))
			if i == 29 {
				payload = payload[:700]
			}
			_, err := c.Write(payload)
			must(t, err)
			payload = payload[:1200]
		}
		time.Sleep(time.Millisecond)
	}
}

// packetCounter captures the packets to one address and counts how often each was seen.
type packetCounter struct {
	conn  *packet.Conn
	dst   netip.Addr
	proto lb.Protocol
	done  chan struct{}
	seen  map[string]int
	count atomic.Int64 // of all that was seen
	error error
}

func startPacketCounter(t *testing.T, h *lab.Host, dst netip.Addr, proto lb.Protocol) *packetCounter {
	t.Helper()
	b := &packetCounter{conn: listen(t, h, "eth0"), dst: dst, proto: proto, done: make(chan struct{}), seen: map[string]int{}}
	raw, err := b.conn.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	}))
	if errors.Is(err, unix.EPERM) {
		_ = b.conn.Close()
		t.Skip("a capture without losses needs more memory than the system lets ordinary users have for a socket")
	}
	must(t, err)
	go func() {
		defer close(b.done)
		for buf := make([]byte, 1<<17); ; {
			n, _, err := b.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			b.put(buf[:n])
		}
	}()
	return b
}

// put keeps a packet without what routers change: MACs, TTL, and with it IPv4's checksum.
func (b *packetCounter) put(frame []byte) {
	dst, proto := b.dst, b.proto
	ip := slices.Clone(frame[forward.EthernetLen:])
	switch {
	case dst.Is4() && frame[12] == 8 && frame[13] == 0:
		if ip[9] != byte(proto) || [4]byte(ip[16:20]) != dst.As4() {
			return
		}
		if onesSum(ip[:20]) != 0xffff {
			b.error = fmt.Errorf("wrong IPv4 header: %x", ip[:20])
		}
		ip[8], ip[10], ip[11] = 0, 0, 0
		ip = ip[:binary.BigEndian.Uint16(ip[2:])] // without Ethernet's padding
	case dst.Is6() && frame[12] == 0x86 && frame[13] == 0xdd:
		if ip[6] != byte(proto) || !bytes.Equal(ip[24:40], dst.AsSlice()) {
			return
		}
		ip[7] = 0
	default:
		return
	}
	b.seen[string(ip)]++
	b.count.Add(1)
}

// await waits until n packets were seen, or no more can be expected.
func (b *packetCounter) await(n int) {
	for end := time.Now().Add(giveUpAfter); b.count.Load() < int64(n) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// end returns the packets seen so far, with their counts.
func (b *packetCounter) end(t *testing.T) map[string]int {
	t.Helper()
	must(t, b.conn.SetReadDeadline(time.Now()))
	<-b.done
	drainCapture(t, b.conn, b.put)
	must(t, b.error)
	return b.seen
}

// drainCapture calls put with the frames that are left in the buffer of a capture whose
// deadline has passed.
func drainCapture(t *testing.T, c *packet.Conn, put func(frame []byte)) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Time{}))
	raw, err := c.SyscallConn()
	must(t, err)
	buf := make([]byte, 1<<17)
	for n := 0; err == nil; {
		must(t, raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return true
		}))
		if err == nil {
			put(buf[:n])
		}
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
}
