package lb_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

func TestEndOfContextLeavesNothingBehind(t *testing.T) {
	s := newSite(t, 0)
	before := hostState(t, s)
	goroutines := goleak.IgnoreCurrent()
	_, stop := s.run(s.config())
	if during := hostState(t, s); during.Sockets == before.Sockets {
		t.Fatal("golb shows no packet socket while it runs: this test sees nothing")
	}
	if _, err := get(newHTTPClient(s.client), urlOf(vips[0], 10), 10); err != nil {
		t.Error(err)
	}
	stop()
	if diff := cmp.Diff(before, hostState(t, s)); diff != "" {
		t.Errorf("golb's host is not as it was (-before +after):\n%s", diff)
	}
	goleak.VerifyNone(t, goroutines)
}

// state is what golb may change on its host.
type state struct {
	Promisc   int    // of eth0
	Flags     uint32 // of eth0: IFF_PROMISC, IFF_ALLMULTI and so on
	Multicast string // addresses that eth0 receives
	Sockets   int    // packet sockets
	Addrs     string
	Links     int
}

func hostState(t *testing.T, s *site) state {
	t.Helper()
	var st state
	must(t, s.golb.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		st.Links = len(links)
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		st.Promisc, st.Flags = eth0.Attrs().Promisc, eth0.Attrs().RawFlags
		addrs, err := netlink.AddrList(eth0, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			st.Addrs += a.IPNet.String() + " "
		}
		mcast, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
		if err != nil {
			return err
		}
		st.Multicast = string(mcast)
		packet, err := os.ReadFile("/proc/thread-self/net/packet")
		st.Sockets = strings.Count(string(packet), "\n") - 1 // the first line is a heading
		return err
	}))
	return st
}
