package afpacket

import (
	"fmt"
	"testing"
)

// Frames that a kernel sends over veth are super-packets with unfinished checksums. They
// arrive only if the offload header survives both ports, whatever the MTU.
func TestTCPPassesThroughPorts(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		for _, addr := range []string{server4, server6} {
			t.Run(fmt.Sprintf("%s,mtu=%d", addr, mtu), func(t *testing.T) {
				w := newWire(t, mtu)
				a, b := w.bridge(t, Config{})
				const size = 64 << 20
				transfer(t, w.client, w.server, addr, size)
				in, out := a.Stats(), b.Stats()
				if mean := in.ReceivedBytes / in.Received; mean < 2*uint64(mtu) {
					t.Errorf("%d bytes a frame: no super-packets passed", mean)
				}
				if out.SentBytes < size {
					t.Errorf("%d bytes sent", out.SentBytes)
				}
				for _, st := range []Stats{in, out} {
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
