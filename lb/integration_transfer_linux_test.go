package lb_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// Offloads are as veth has them: super-packets of 64 KiB with unfinished checksums.
func TestEveryMethodCarriesLargeTransfers(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	b, stop := p.run(p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		size := int64(16 << 20)
		if !testing.Short() && !w.mixed && !w.tunnel.Checksum {
			size = 256 << 20
		}
		p.transfer(t, w, f, size)
	})
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	p.checkHost(t)
	p.checkRetransmissions(t)
}

func TestEveryMethodCarriesJumboFrames(t *testing.T) {
	p := buildTestNetwork(t, lab.LinkConfig{MTU: 9000}, 9000)
	p.addServers()
	b, stop := p.run(p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		p.transfer(t, w, f, 4<<20)
		c := p.dialEcho(t, w, f)
		for _, size := range []int{1, 1473, 8892, 8912, 8932, 8940, 8952, 8953, 8972, 8973, 8980, 20_000} {
			echo(t, c, size)
		}
	})
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	p.checkHost(t)
	p.checkRetransmissions(t)
}

// longestSuperPacket is the longest that Linux makes (GSO_MAX_SIZE): its IP header has no
// room for its length.
const longestSuperPacket = 8 * 65535

func TestEveryMethodCarriesBigTCP(t *testing.T) {
	p := buildTestNetwork(t, lab.LinkConfig{GSOMaxSize: longestSuperPacket}, 0)
	p.addServers()
	// A Linux router forwards no such packets of IPv6, and a server with one arm answers its
	// neighbors by itself.
	p.ways = slices.DeleteFunc(p.ways, func(w way) bool {
		return w.name == "nat one-arm" || w.tunnel.Checksum || w.tunnel.Type == lb.GRE || w.mixed && w.tunnel.Type == lb.IPIP
	})
	p.addNearClient()
	p.transferBigTCP(t)
}

// The router behind golb gets what it can forward.
func TestNATServersSendBigTCP(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.cables.GSOMaxSize = longestSuperPacket
	p.addServers()
	p.ways = slices.DeleteFunc(p.ways, func(w way) bool { return w.name != "nat two-arm" })
	p.transferBigTCP(t)
}

// addNearClient puts the client on the front switch.
func (p *testNetwork) addNearClient() {
	p.client = p.host("near")
	p.hosts = append(p.hosts, p.client)
	p.plug(p.client, "eth0", p.front, frontNet, 50)
	for i := range p.ways {
		p.ways[i].client = frontNet.at(150 + i)
		p.add(p.client, frontNet, 150+i)
	}
}

func (p *testNetwork) transferBigTCP(t *testing.T) {
	t.Helper()
	ports := &measuredPorts{}
	b, stop := p.runIn(lb.Env{OpenPorts: ports.open}, p.config())
	defer stop()
	p.each(t, func(t *testing.T, w way, f family) {
		ports.longest.Store(0)
		p.transfer(t, w, f, 64<<20)
		if n := ports.longest.Load(); n <= forward.MaxFrame {
			t.Errorf("the longest frame had %d bytes: this shows nothing", n)
		}
	})
	p.checkSums(t)
	p.checkDrops(t, b, lb.MTUExceeded, lb.NotVIP)
	p.checkHost(t)
	p.checkRetransmissions(t)
}

// measuredPorts are ports that note the longest frame that they received.
type measuredPorts struct{ longest atomic.Int64 }

type measuredPort struct {
	*afpacket.Port
	longest *atomic.Int64
}

func (m *measuredPorts) open(cfg lb.PortConfig) ([]lb.Port, error) {
	opened, err := afpacket.OpenGroup(afpacket.Config{Interface: cfg.Interface, SendOnly: cfg.SendOnly}, cfg.Count)
	ports := make([]lb.Port, len(opened))
	for i, p := range opened {
		ports[i] = measuredPort{p, &m.longest}
	}
	return ports, err
}

func (m measuredPort) Recv(frames []forward.Frame) (int, error) {
	n, err := m.Port.Recv(frames)
	for i := range frames[:n] {
		for {
			was, now := m.longest.Load(), int64(frames[i].Len())
			if now <= was || m.longest.CompareAndSwap(was, now) {
				break
			}
		}
	}
	return n, err
}

// transfer uploads and downloads, and holds what the server got against the method.
func (p *testNetwork) transfer(t *testing.T, w way, f family, size int64) {
	t.Helper()
	want, err := sumOf(noise(size))
	must(t, err)
	before := p.decapsulated(t)
	c := newHTTPClient(p.client)
	c.Transport.(*http.Transport).DialContext = p.dial(w, f)
	up(t, c, w.vips[f], size, want)
	down(t, c, w.vips[f], size, want)
	now := p.decapsulated(t)
	least := uint64(size / int64(max(p.cables.MTU, 1500))) // what the upload took
	for _, got := range []struct {
		name   string
		used   bool
		packet uint64
	}{
		{"IPIP", w.method == lb.TUN && w.tunnel.Type == lb.IPIP, now.IPIP - before.IPIP},
		{"GUE", w.method == lb.TUN && w.tunnel.Type == lb.GUE, now.GUE - before.GUE},
		{"GRE", w.method == lb.TUN && w.tunnel.Type == lb.GRE, now.GRE - before.GRE},
	} {
		// The end of the transfer before this one may be late.
		if got.used && got.packet < least || !got.used && got.packet > least/2 {
			t.Errorf("%d packets came by %s, of at least %d", got.packet, got.name, least)
		}
	}
}

// dial dials from the way's own address.
func (p *testNetwork) dial(w way, f family) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return p.dialer(w, f, network, 0).DialContext(ctx, network, address)
	}
}

// dialer dials from the way's own address and that port; 0 is any.
func (p *testNetwork) dialer(w way, f family, network string, port uint16) *net.Dialer {
	from := netip.AddrPortFrom(w.client[f], port)
	d := &net.Dialer{Timeout: giveUpAfter, Control: p.client.Control, LocalAddr: net.TCPAddrFromAddrPort(from)}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	}
	return d
}

// decapsulated adds up what came out of tunnels.
func (p *testNetwork) decapsulated(t *testing.T) (sum lab.DecapStats) {
	t.Helper()
	for _, d := range p.decaps {
		s, err := d.Stats()
		must(t, err)
		sum.IPIP += s.IPIP
		sum.GRE += s.GRE
		sum.GUE += s.GUE
		sum.Unfinished += s.Unfinished
		sum.UnfinishedGRE += s.UnfinishedGRE
		sum.Malformed += s.Malformed
		sum.BadChecksum += s.BadChecksum
		sum.Refused += s.Refused
	}
	return sum
}

// checkSums fails where a kernel met a wrong checksum, or a tunnel carried an
// unfinished one, which nothing on its way would finish.
func (p *testNetwork) checkSums(t *testing.T) {
	t.Helper()
	s := p.decapsulated(t)
	if s.Malformed+s.BadChecksum+s.Refused > 0 {
		t.Errorf("tunnels: %+v", s)
	}
	// One finished checksum in 65,535 looks like an unfinished one.
	if total := s.IPIP + s.GRE + s.GUE; s.Unfinished > total/1000+5 {
		t.Errorf("%d of %d packets in tunnels had unfinished checksums", s.Unfinished, total)
	}
	for _, h := range p.hosts {
		for name, n := range checksumErrors(t, h) {
			if n != 0 {
				t.Errorf("%s: %s is %d", h.Name(), name, n)
			}
		}
	}
}

// checksumErrors reads all counters of wrong checksums that a host has.
func checksumErrors(t *testing.T, h *lab.Host) map[string]int {
	t.Helper()
	values := map[string]int{}
	for name, n := range counters(t, h) {
		if strings.HasSuffix(name, "InCsumErrors") {
			values[name] = n
		}
	}
	if len(values) < 3 {
		t.Fatalf("%s counts %v only", h.Name(), values)
	}
	for name, n := range counters6(t, h) {
		if strings.HasSuffix(name, "InCsumErrors") {
			values[name] = n
		}
	}
	return values
}

// counters6 reads the IPv6 counters of a host.
func counters6(t *testing.T, h *lab.Host) map[string]int {
	t.Helper()
	var text []byte
	must(t, h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp6")
		return err
	}))
	values := map[string]int{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		n, err := strconv.Atoi(f[1])
		must(t, err)
		values[f[0]] = n
	}
	return values
}

// checkDrops fails where golb dropped frames for other reasons.
func (p *testNetwork) checkDrops(t *testing.T, b *lb.Balancer, allowed ...lb.Reason) {
	t.Helper()
	drops := b.Stats().Drops
	for _, reason := range allowed {
		delete(drops, reason)
	}
	if len(drops) > 0 {
		t.Errorf("golb dropped frames: %v", drops)
	}
}

// checkHost fails where the kernel of golb's host has had a hand in it.
func (p *testNetwork) checkHost(t *testing.T) {
	t.Helper()
	v4, v6 := counters(t, p.golb), counters6(t, p.golb)
	if v4["Ip InReceives"] < 100 || v6["Ip6InReceives"] < 100 {
		t.Errorf("golb's host saw %d and %d packets: this shows nothing", v4["Ip InReceives"], v6["Ip6InReceives"])
	}
	for name, n := range map[string]int{
		"Ip ForwDatagrams": v4["Ip ForwDatagrams"], "Icmp OutMsgs": v4["Icmp OutMsgs"], "Tcp OutRsts": v4["Tcp OutRsts"],
		"Ip6OutForwDatagrams": v6["Ip6OutForwDatagrams"], "Icmp6OutDestUnreachs": v6["Icmp6OutDestUnreachs"],
		"Icmp6OutPktTooBigs": v6["Icmp6OutPktTooBigs"],
	} {
		if n != 0 {
			t.Errorf("golb's host: %s is %d", name, n)
		}
	}
}

// checkRetransmissions fails where much was sent more than once: TCP hides the loss of
// what golb has cut or put together wrongly.
func (p *testNetwork) checkRetransmissions(t *testing.T) {
	t.Helper()
	for _, h := range p.hosts {
		c := counters(t, h)
		if again, all := c["Tcp RetransSegs"], c["Tcp OutSegs"]; again > all/3 {
			t.Errorf("%s sent %d of %d segments again", h.Name(), again, all)
		}
	}
}
