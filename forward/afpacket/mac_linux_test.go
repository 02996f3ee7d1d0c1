package afpacket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	virtualMAC = forward.MAC{0, 0, 0x5e, 0, 1, 0x33} // VRRP over IPv4 (RFC 9568 §7.3)
	thirdMAC   = forward.MAC{0, 0, 0x5e, 0, 1, 0x34}
)

func TestPortReceivesFramesForItsVirtualMACs(t *testing.T) {
	for _, iface := range []string{"eth0", "br0"} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s,workers=%d", iface, workers), func(t *testing.T) {
				ha, hb := newLink(t)
				if iface == "br0" {
					addBridge(t, hb)
				}
				cfg := allIP(iface)
				cfg.MACs = []forward.MAC{virtualMAC, {0, 0, 0x5e, 0, 2, 0x33}, {2, 1, 2, 3, 4, 5}}
				ports := openPorts(t, hb, cfg, workers)
				a := openPort(t, ha, Config{Interface: "eth0"})
				sendAll(t, a,
					udpFrame(thirdMAC, server4, 1, 1, "a third MAC"),
					udpFrame(forward.MAC{2, 1, 2, 3, 4, 6}, server4, 1, 1, "a fourth MAC"),
					tagged(udpFrame(virtualMAC, server4, 1, 1, "virtual MAC, VLAN 10"), 10),
					udpFrame(virtualMAC, server4, 1, 1, "virtual MAC"),
					udpFrame(cfg.MACs[2], server4, 1, 1, "last of the MACs"),
					udpFrame(ports[0].MAC(), server4, 1, 1, "interface's MAC"),
				)
				got := receiveAll(t, ports, 3)
				slices.Sort(got)
				if diff := cmp.Diff([]string{"interface's MAC", "last of the MACs", "virtual MAC"}, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if ports[0].MAC() == virtualMAC {
					t.Error("the virtual MAC is taken for the interface's")
				}
			})
		}
	}
}

// A new filter keeps the virtual MACs, also one that is not exact.
func TestSetFilterKeepsVirtualMACs(t *testing.T) {
	ha, hb := newLink(t)
	a, b := openPort(t, ha, Config{Interface: "eth0"}), openPort(t, hb, Config{Interface: "eth0", MACs: []forward.MAC{virtualMAC}})
	for name, f := range map[string]forward.Filter{"exact": vips(server4 + "/32"), "not exact": {VIPs: scattered(5000, false)}} {
		if exact, err := b.SetFilter(f); err != nil || exact != (name == "exact") {
			t.Fatalf("%s: exact %v, %v", name, exact, err)
		}
		sendAll(t, a, udpFrame(thirdMAC, server4, 1, 1, "third"), udpFrame(virtualMAC, server4, 1, 1, "virtual"), udpFrame(b.MAC(), server4, 1, 1, "end"))
		if diff := cmp.Diff([]string{"virtual"}, receive(t, b)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestVirtualMACsAreTheInterfacesUntilClose(t *testing.T) {
	_, hb := newLink(t)
	cfg := Config{Interface: "eth0", MACs: []forward.MAC{virtualMAC}}
	before := unicastMACs(t, hb, "eth0")
	ports := openPorts(t, hb, cfg, 2)
	for _, p := range ports {
		if got := unicastMACs(t, hb, "eth0"); !slices.Contains(got, virtualMAC.String()) {
			t.Errorf("%v are not %v too", got, virtualMAC)
		}
		must(t, p.Close())
	}
	if got := unicastMACs(t, hb, "eth0"); !slices.Equal(got, before) {
		t.Errorf("after Close %v, before Open %v", got, before)
	}
	openPort(t, hb, Config{Interface: "eth0", MACs: cfg.MACs, SendOnly: true})
	if got := unicastMACs(t, hb, "eth0"); !slices.Equal(got, before) {
		t.Errorf("a port that only sends: %v, before %v", got, before)
	}
}

// addBridge makes br0 of the host's eth0.
func addBridge(t *testing.T, h *lab.Host) {
	t.Helper()
	// The test's frames have no IPv4 header checksum, and br_netfilter would drop them.
	if err := h.Sysctl("net.bridge.bridge-nf-call-iptables", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, h.Do(func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(eth0, bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	}))
}

// unicastMACs returns the addresses that an interface receives beside its own (ip-link's
// "bridge fdb show dev", entries "self permanent").
func unicastMACs(t *testing.T, h *lab.Host, iface string) (list []string) {
	t.Helper()
	must(t, h.Do(func() error {
		ifi, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		entries, err := netlink.NeighList(ifi.Index, unix.AF_BRIDGE)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.HardwareAddr[0]&1 == 0 {
				list = append(list, e.HardwareAddr.String())
			}
		}
		return nil
	}))
	slices.Sort(list)
	return list
}
