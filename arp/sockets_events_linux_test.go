package arp

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestKernelAsksToAnnounce(t *testing.T) {
	message := func(kind uint16, index int32, event uint32) syscall.NetlinkMessage {
		info := nl.NewIfInfomsg(unix.AF_UNSPEC)
		info.Index = index
		value := make([]byte, 4)
		binary.NativeEndian.PutUint32(value, event)
		data := append(info.Serialize(), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("bond0")).Serialize()...)
		return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: append(data, nl.NewRtAttr(unix.IFLA_EVENT, value).Serialize()...)}
	}
	for _, tc := range []struct {
		name string
		m    syscall.NetlinkMessage
		want bool
	}{
		{"fail-over of a bond, migration", message(unix.RTM_NEWLINK, 3, unix.IFLA_EVENT_NOTIFY_PEERS), true},
		{"another event", message(unix.RTM_NEWLINK, 3, unix.IFLA_EVENT_FEATURES), false},
		{"another interface", message(unix.RTM_NEWLINK, 4, unix.IFLA_EVENT_NOTIFY_PEERS), false},
		{"another message", message(unix.RTM_NEWADDR, 3, unix.IFLA_EVENT_NOTIFY_PEERS), false},
		{"a short one", syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWLINK}, Data: []byte{1}}, false},
	} {
		if got := asksToAnnounce(tc.m, 3); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}
