package main

import (
	"errors"
	"io"
	"net"
	"os"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// vrrpWire reads frames that may be adverts, sent ones too.
type vrrpWire struct{ *packet.Conn }

func (w vrrpWire) Read(buf []byte) (int, error) {
	n, _, err := w.ReadFrom(buf)
	return n, err
}

// openVRRPWire opens an interface for reading VRRP's frames. The interface needs no address,
// and need not be a member of VRRP's multicast groups.
func openVRRPWire(ifname string) (io.ReadCloser, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	filter, err := bpf.Assemble(vrrpFilter())
	if err != nil {
		return nil, err
	}
	c, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	if err := receiveGroups(c, ifi); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return vrrpWire{c}, nil
}

// vrrpFilter takes IP protocols 112 and 51. VLAN tags are not in the frame here: the
// kernel takes them off.
func vrrpFilter() []bpf.Instruction {
	const vrrp, ah = 112, 51
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 14 + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: vrrp, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ah, SkipTrue: 2, SkipFalse: 3},
		bpf.Jump{Skip: 2},
		bpf.LoadAbsolute{Off: 14 + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vrrp, SkipTrue: 1},
		bpf.RetConstant{Val: 64 << 10},
		bpf.RetConstant{Val: 0},
	}
}

// receiveGroups joins VRRP's multicast groups until the socket is closed.
func receiveGroups(c *packet.Conn, ifi *net.Interface) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for _, mac := range [][6]byte{{0x01, 0x00, 0x5e, 0x00, 0x00, 0x12}, {0x33, 0x33, 0x00, 0x00, 0x00, 0x12}} {
			mreq := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
			copy(mreq.Address[:], mac[:])
			failed = errors.Join(failed, os.NewSyscallError("setsockopt",
				unix.SetsockoptPacketMreq(int(fd), unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq)))
		}
	})
	return errors.Join(err, failed)
}
