package lab

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// SetFeatures turns features of an interface on or off, as ethtool -K does, by the names that ethtool -k prints: of a
// veth tx-checksum-ip-generic, tx-tcp-segmentation, tx-tcp6-segmentation, tx-udp-segmentation, rx-gro and others. The
// kernel ignores what the interface cannot change.
func (h *Host) SetFeatures(ifname string, on bool, names ...string) error {
	err := h.Do(func() error {
		ethtool, err := netlink.GenlFamilyGet(unix.ETHTOOL_GENL_NAME)
		if err != nil {
			return err
		}
		request := nl.NewNetlinkRequest(int(ethtool.ID), unix.NLM_F_ACK)
		request.AddData(&nl.Genlmsg{Command: unix.ETHTOOL_MSG_FEATURES_SET, Version: unix.ETHTOOL_GENL_VERSION})
		header := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_HEADER|unix.NLA_F_NESTED, nil)
		header.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_NAME, nl.ZeroTerminated(ifname))
		request.AddData(header)
		wanted := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_WANTED|unix.NLA_F_NESTED, nil)
		bits := wanted.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS|unix.NLA_F_NESTED, nil)
		for _, name := range names {
			bit := bits.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS_BIT|unix.NLA_F_NESTED, nil)
			bit.AddRtAttr(unix.ETHTOOL_A_BITSET_BIT_NAME, nl.ZeroTerminated(name))
			if on {
				bit.AddRtAttr(unix.ETHTOOL_A_BITSET_BIT_VALUE, nil)
			}
		}
		request.AddData(wanted)
		_, err = request.Execute(unix.NETLINK_GENERIC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: %s: features of %s: %w", h.name, ifname, err)
	}
	return nil
}
