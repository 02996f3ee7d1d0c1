package afpacket

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"golang.org/x/sys/unix"
)

// A kernel sends super-packets with partial checksums over veth. They arrive only if both
// ports keep the offload header, whatever the MTU.
func TestTCPPassesThroughPorts(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		for _, addr := range []string{server4, server6} {
			t.Run(fmt.Sprintf("%s,mtu=%d", addr, mtu), func(t *testing.T) {
				w := newWire(t, mtu)
				a, b := w.bridge(t, Config{})
				const size = 64 << 20
				transfer(t, w.client, w.server, addr, size)
				must(t, a.Close()) // counters may lag behind the frames until then
				must(t, b.Close())
				in, out := a.Stats(), b.Stats()
				if mean := in.ReceivedBytes / in.Received; mean < 2*uint64(mtu) {
					t.Errorf("%d bytes a frame: no super-packets passed", mean)
				}
				if out.SentBytes < size {
					t.Errorf("%d bytes sent", out.SentBytes)
				}
				for _, st := range []forward.PortStats{in, out} {
					if st.ReceiveUnusable+st.SendTooLong+st.SendRefused+st.SendDown > 0 {
						t.Errorf("lost frames: %+v", st)
					}
				}
			})
		}
	}
}

func TestTCPPassesWithoutQueueingDiscipline(t *testing.T) {
	w := newWire(t, 0)
	w.bridge(t, Config{QdiscBypass: true})
	transfer(t, w.client, w.server, server4, 16<<20)
}

func TestUDPSuperPacketsPassThroughPorts(t *testing.T) {
	w := newWire(t, 0)
	a, b := w.bridge(t, Config{})
	client, err := w.client.ListenPacket(t.Context(), "udp", client4+":0")
	must(t, err)
	defer client.Close()
	server, err := w.server.ListenPacket(t.Context(), "udp", server4+":0")
	must(t, err)
	defer server.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(server.LocalAddr().String()))

	const segment, segments = 1000, 40
	raw, err := client.(syscall.Conn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment)
	}))
	must(t, err)
	var want []byte
	for i := range segments {
		want = append(want, bytes.Repeat([]byte{byte(i)}, segment)...)
	}
	_, err = client.WriteTo(want, to)
	must(t, err)

	must(t, server.SetReadDeadline(time.Now().Add(time.Minute)))
	buf := make([]byte, 2*segment)
	for i := range segments {
		n, _, err := server.ReadFrom(buf)
		must(t, err)
		if !bytes.Equal(buf[:n], want[i*segment:][:segment]) {
			t.Fatalf("datagram %d is %d bytes of %d", i, n, buf[0])
		}
	}
	if st := a.Stats(); st.ReceivedBytes < uint64(len(want)) || st.Received >= segments {
		t.Errorf("no super-packet: %+v", st)
	}
	if st := b.Stats(); st.SendRefused > 0 {
		t.Errorf("%+v", st)
	}
}
