package lab_test

import (
	"net"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb/lbtest/lab"
)

func TestASenderWithoutSegmentationSendsPlainPackets(t *testing.T) {
	a, b, _ := newPair(t, newLab(t), 0)
	must(t, a.SetFeatures("eth0", false, "tx-tcp-segmentation"))
	must(t, b.SetFeatures("eth0", false, "rx-gro"))
	if longest := longestFrame(t, a, b); longest != 1514 {
		t.Errorf("a frame of %d bytes without segmentation offload", longest)
	}
	must(t, a.SetFeatures("eth0", true, "tx-tcp-segmentation"))
	if longest := longestFrame(t, a, b); longest < 3000 {
		t.Errorf("no frame above %d bytes with it", longest)
	}
	if err := a.SetFeatures("none", false, "tx-tcp-segmentation"); err == nil {
		t.Error("an interface that is not there: no error")
	}
}

// longestFrame is what b receives of a transfer from a.
func longestFrame(t *testing.T, a, b *lab.Host) (longest int) {
	t.Helper()
	var c *packet.Conn
	must(t, b.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		c, err = packet.Listen(link, packet.Raw, unix.ETH_P_IP, nil)
		return err
	}))
	defer c.Close()
	const size = 100_000
	transfer(t, a, b, "192.0.2.2:9000", size)
	must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	buf := make([]byte, 1<<17)
	for seen := 0; seen < size/2; { // the socket may have had no room for all of it
		n, _, err := c.ReadFrom(buf)
		must(t, err)
		seen += n
		longest = max(longest, n)
	}
	return longest
}
