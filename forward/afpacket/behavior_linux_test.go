package afpacket

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func vips(list ...string) forward.Filter { return forward.Filter{VIPs: prefixes(list...)} }

// allIP receives all IP packets that are for this host.
func allIP(iface string) Config {
	return Config{Interface: iface, Filter: vips("0.0.0.0/0", "::/0")}
}

// mustFilter sets a filter, which must be exact.
func mustFilter(t testing.TB, p *Port, f forward.Filter) {
	t.Helper()
	if exact, err := p.SetFilter(f); err != nil || !exact {
		t.Fatalf("SetFilter: exact %v, %v", exact, err)
	}
}

// tagged puts an 802.1Q tag into a frame.
func tagged(frame []byte, tci uint16) []byte {
	return slices.Concat(frame[:12], []byte{0x81, 0, byte(tci >> 8), byte(tci)}, frame[12:])
}

func TestPortReceivesWhatItsFilterLetsIn(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	mac := openPort(t, hb, Config{Interface: "eth0", SendOnly: true}).MAC()
	other := forward.MAC{2, 9, 9, 9, 9, 9}
	frames := [][]byte{
		udpFrame(mac, "192.0.2.7", 1, 1, "VIP"),
		udpFrame(mac, "192.0.2.8", 1, 1, "not VIP"),
		udpFrame(other, "192.0.2.7", 1, 1, "other MAC"),
		udpFrame(forward.MAC{255, 255, 255, 255, 255, 255}, "192.0.2.7", 1, 1, "broadcast"),
		tagged(udpFrame(mac, "192.0.2.7", 1, 1, "VLAN 10"), 10),
		tagged(udpFrame(mac, "192.0.2.7", 1, 1, "priority"), 0xe000),
		udpFrame(mac, "192.0.2.7", 1, 1, "end"),
	}
	for name, tt := range map[string]struct {
		filter forward.Filter
		want   []string
	}{
		"all IP":   {vips("0.0.0.0/0"), []string{"VIP", "not VIP", "broadcast", "priority"}},
		"a VIP":    {vips("192.0.2.7/32"), []string{"VIP", "broadcast", "priority"}},
		"a prefix": {vips("192.0.2.0/28"), []string{"VIP", "not VIP", "broadcast", "priority"}},
	} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s,workers=%d", name, workers), func(t *testing.T) {
				ports := openPorts(t, hb, Config{Interface: "eth0", Filter: tt.filter}, workers)
				sendAll(t, a, frames...)
				var got []string
				if workers == 1 {
					got = receive(t, ports[0])
				} else {
					got = receiveAll(t, ports, len(tt.want)+1)
					got = slices.DeleteFunc(got, func(s string) bool { return s == "end" })
				}
				slices.Sort(got)
				slices.Sort(tt.want)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// receiveAll returns the payloads of n datagrams, whichever of the ports they come to.
func receiveAll(t testing.TB, ports []*Port, n int) []string {
	t.Helper()
	var got []string
	for _, list := range receiveEach(t, ports, n) {
		got = append(got, list...)
	}
	return got
}

// receiveEach returns the payloads of n datagrams for each port.
func receiveEach(t testing.TB, ports []*Port, n int) [][]string {
	t.Helper()
	got := make([][]string, len(ports))
	total := 0
	frames := make([]forward.Frame, 64)
	for start := time.Now(); total < n; {
		if time.Since(start) > time.Minute {
			t.Fatalf("%d frames of %d: %q", total, n, got)
		}
		for i, p := range ports {
			p.Wake()
			k, err := p.Recv(frames)
			must(t, err)
			for j := range frames[:k] {
				if b := frames[j].Bytes(); b[12] == 8 {
					got[i] = append(got[i], string(b[42:]))
					total++
				}
			}
		}
	}
	return got
}

func TestSetFilterTakesEffectOnAnOpenPort(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	b := openPort(t, hb, Config{Interface: "eth0", Filter: vips("192.0.2.7/32")})
	all := openPort(t, hb, allIP("eth0"))
	frame := func(dst, payload string) []byte { return udpFrame(b.MAC(), dst, 1, 1, payload) }
	sendAll(t, a, frame("192.0.2.7", "1"), frame("192.0.2.8", "2"), frame("192.0.2.8", "end"))
	receive(t, all) // by now they have passed b's filter
	mustFilter(t, b, vips("192.0.2.8/32"))
	sendAll(t, a, frame("192.0.2.7", "3"), frame("192.0.2.8", "4"), frame("192.0.2.8", "end"))
	if diff := cmp.Diff([]string{"1", "4"}, receive(t, b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAFilterThatFailsLeavesTheOldOne(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	b := openPort(t, hb, Config{Interface: "eth0", Filter: vips("192.0.2.7/32")})
	frame := func(dst, payload string) []byte { return udpFrame(b.MAC(), dst, 1, 1, payload) }
	stillTheOld := func(t *testing.T) {
		t.Helper()
		sendAll(t, a, frame("192.0.2.7", "VIP"), frame("192.0.2.8", "not VIP"), frame("192.0.2.7", "end"))
		if diff := cmp.Diff([]string{"VIP"}, receive(t, b)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	t.Run("invalid prefix", func(t *testing.T) {
		f := vips("192.0.2.8/32")
		f.Servers = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("192.0.2.8"), 33)}
		if exact, err := b.SetFilter(f); exact || err == nil || !strings.Contains(err.Error(), "eth0: invalid prefix") {
			t.Errorf("exact %v, %v", exact, err)
		}
		stillTheOld(t)
	})
	t.Run("no memory", func(t *testing.T) {
		if err := hb.Sysctl("net.core.optmem_max", "2000"); errors.Is(err, fs.ErrNotExist) {
			t.Skip(err) // before Linux 6.8 there is one for all namespaces
		} else if err != nil {
			t.Fatal(err)
		}
		if exact, err := b.SetFilter(forward.Filter{VIPs: scattered(1000, false)}); exact || !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "eth0") {
			t.Errorf("exact %v, %v", exact, err)
		}
		stillTheOld(t)
	})
}

func TestKernelTakesTheLongestFilterAndAnotherAfterIt(t *testing.T) {
	_, hb := newLink(t)
	for _, prefixes := range [][]netip.Prefix{scattered(3000, false), scattered(1200, true)} {
		p := openPort(t, hb, Config{Interface: "eth0", Filter: forward.Filter{VIPs: prefixes}})
		mustFilter(t, p, forward.Filter{VIPs: prefixes})
	}
}

func TestAFilterWithTooManyPrefixesLetsInAllIP(t *testing.T) {
	ha, hb := newLink(t)
	a, b := openPort(t, ha, Config{Interface: "eth0"}), openPort(t, hb, Config{Interface: "eth0"})
	if exact, err := b.SetFilter(forward.Filter{VIPs: scattered(5000, false)}); exact || err != nil {
		t.Fatalf("exact %v, %v", exact, err)
	}
	other := forward.MAC{2, 9, 9, 9, 9, 9}
	sendAll(t, a, udpFrame(b.MAC(), "192.0.2.8", 1, 1, "any IP"), udpFrame(other, "192.0.2.8", 1, 1, "other MAC"), udpFrame(b.MAC(), "192.0.2.8", 1, 1, "end"))
	if diff := cmp.Diff([]string{"any IP"}, receive(t, b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReceivedFramesHaveRoomAroundThem(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	cfg := allIP("eth0")
	cfg.Batch = 4
	b := openPort(t, hb, cfg)
	var list [][]byte
	for i := range 8 {
		list = append(list, udpFrame(b.MAC(), server4, 1, 1, string(bytes.Repeat([]byte{byte('a' + i)}, i*100))))
	}
	sendAll(t, a, list...)
	for len(list) > 0 {
		frames := make([]forward.Frame, 8)
		for i := range frames {
			frames[i].Port = 7
		}
		n, err := b.Recv(frames)
		must(t, err)
		if n > 4 {
			t.Fatalf("%d frames of a batch of 4", n)
		}
		for _, f := range frames[:n] {
			if f.Bytes()[12] == 0x86 {
				continue
			}
			if f.Head != forward.Headroom || len(f.Buf) < forward.Headroom+forward.MaxFrame || f.Port != 7 {
				t.Errorf("Head %d, %d bytes, port %d", f.Head, len(f.Buf), f.Port)
			}
			if f.Offload != (forward.Offload{}) {
				t.Errorf("a plain frame with %+v", f.Offload)
			}
			if !bytes.Equal(f.Bytes(), list[0]) {
				t.Errorf("got %x, want %x", f.Bytes(), list[0])
			}
			clear(f.Buf) // the caller may write to all of it
			list = list[1:]
		}
	}
}

func TestEachFlowStaysOnOnePortOfAGroup(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	group := openPorts(t, hb, allIP("eth0"), 2)
	const flows, each = 64, 10
	var list [][]byte
	for n := range each {
		for flow := range uint16(flows) {
			f := udpFrame(group[0].MAC(), server4, 1000+flow, 53, fmt.Sprint(flow))
			if n%2 == 1 { // the reverse direction
				f = udpFrame(group[0].MAC(), client4, 53, 1000+flow, fmt.Sprint(flow))
				copy(f[26:30], netip.MustParseAddr(server4).AsSlice())
			}
			list = append(list, f)
		}
	}
	sendAll(t, a, list...)
	got := receiveEach(t, group, len(list))
	home := make(map[string]int)
	for i, payloads := range got {
		if len(payloads) == 0 {
			t.Errorf("port %d received nothing", i)
		}
		for _, flow := range payloads {
			if at, ok := home[flow]; ok && at != i {
				t.Errorf("flow %s came to ports %d and %d", flow, at, i)
			}
			home[flow] = i
		}
	}
	if len(home) != flows {
		t.Errorf("%d flows arrived of %d", len(home), flows)
	}
}

func TestPortsDoNotReceiveWhatTheirHostSends(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	for _, workers := range []int{1, 2} {
		ports := openPorts(t, hb, Config{Interface: "eth0"}, workers)
		passAll(t, ports...)
		sendAll(t, ports[0], udpFrame(a.MAC(), server4, 1, 1, "sent"))
		sendAll(t, a, udpFrame(ports[0].MAC(), server4, 1, 1, "received"))
		if got := receiveAll(t, ports, 1); !slices.Equal(got, []string{"received"}) {
			t.Errorf("%d workers received %q", workers, got)
		}
	}
}

func TestFramesThatFindNoRoomAreCounted(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	b := openPort(t, hb, Config{Interface: "eth0", ReceiveBuffer: 32 << 10, Filter: vips(server4 + "/32")})
	list := make([]forward.Frame, 500)
	for i := range list {
		list[i] = asFrames(udpFrame(b.MAC(), server4, 1, 1, "x"))[0]
	}
	frames := make([]forward.Frame, 64)
	sent, got := 0, 0
	for range 2 {
		n, err := a.Send(list)
		must(t, err)
		sent += n
		before := b.Stats().ReceiveDropped // reading resets the kernel's counter, not ours
		for start := time.Now(); got+int(b.Stats().ReceiveDropped) < sent; {
			b.Wake()
			n, err := b.Recv(frames)
			must(t, err)
			got += n
			if time.Since(start) > time.Minute {
				t.Fatalf("%d of %d frames received, %+v", got, sent, b.Stats())
			}
		}
		if st := b.Stats(); st.ReceiveDropped == 0 || st.ReceiveDropped < before || int(st.Received) != got || got+int(st.ReceiveDropped) != sent {
			t.Errorf("%d of %d frames received, %+v", got, sent, st)
		}
	}
	st := b.Stats()
	must(t, b.Close())
	if now := b.Stats(); now != st {
		t.Errorf("after Close %+v, before %+v", now, st)
	}
}

func TestRefusedFramesDoNotHoldUpOthers(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0", Batch: 3})
	b := openPort(t, hb, allIP("eth0"))
	valid := func(payload string) forward.Frame {
		return asFrames(udpFrame(b.MAC(), server4, 1, 1, payload))[0]
	}
	long := asFrames(udpFrame(b.MAC(), server4, 1, 1, string(make([]byte, 1600))))[0]
	wrong := valid("wrong")
	wrong.Offload = forward.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 60000}
	noGSO := valid("no GSO")
	noGSO.Offload = forward.Offload{GSO: 77, GSOSize: 10}
	short := valid("short")
	short.Tail = 13
	outside := valid("outside")
	outside.Tail = len(outside.Buf) + 1
	frames := []forward.Frame{long, valid("1"), wrong, short, valid("2"), noGSO, long, valid("3"), valid("end"), outside}
	n, err := a.Send(frames)
	if n != 4 || err != nil {
		t.Errorf("sent %d: %v", n, err)
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, receive(t, b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want := forward.PortStats{Sent: 4, SentBytes: 4*42 + 6, SendTooLong: 2, SendRefused: 4}
	got := a.Stats()
	got.Received, got.ReceivedBytes = 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFramesLongerThanABufferAreCountedAndDropped(t *testing.T) {
	ha, hb := newLink(t)
	a := openPort(t, ha, Config{Interface: "eth0"})
	b := openPort(t, hb, Config{Interface: "eth0", Filter: vips(server4 + "/32")})
	for i, buf := range b.in.bufs { // kernels send longer frames only with BIG TCP, so the buffers are made shorter
		b.in.batch.set(i, 0, buf[vnetAt:forward.Headroom+100])
	}
	long := string(make([]byte, 100))
	frame := func(payload string) []byte { return udpFrame(b.MAC(), server4, 1, 1, payload) }
	sendAll(t, a, frame(long), frame("1"), frame(long), frame("2"), frame(long), frame("end"))
	if diff := cmp.Diff([]string{"1", "2"}, receive(t, b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if st := b.Stats(); st.ReceiveUnusable != 3 || st.Received != 3 {
		t.Errorf("%+v", st)
	}
}
