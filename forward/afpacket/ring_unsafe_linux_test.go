package afpacket

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/golb/golb/forward"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ring is a TPACKET receive ring, for comparison with recvmmsg.
type ring struct {
	fd     int
	mem    []byte
	unit   int // bytes of a slot (V2) or a block (V3)
	status int // offset in it of the status word
	at     int // next unit to read

	block []byte // V3: the packets left in the current block
	left  int
}

const (
	// A V2 slot holds a whole super-packet, however short the frames are.
	slotV2   = 17 << 12
	slotsV2  = 512
	blockV3  = 1 << 17
	blocksV3 = 256
)

func openRing(t testing.TB, version, index int, filter []bpf.RawInstruction) *ring {
	r := &ring{}
	var err error
	r.fd, err = open(index, unix.ETH_P_ALL, func(fd int) error {
		must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
		must(t, attach(fd, filter))
		must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, version))
		size := slotV2 * slotsV2
		if version == unix.TPACKET_V3 {
			size = blockV3 * blocksV3
			r.unit, r.status = blockV3, 8
			must(t, unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
				Block_size: blockV3, Block_nr: blocksV3, Frame_size: blockV3, Frame_nr: blocksV3, Retire_blk_tov: 1}))
		} else {
			r.unit = slotV2
			must(t, unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{
				Block_size: slotV2, Block_nr: slotsV2, Frame_size: slotV2, Frame_nr: slotsV2}))
		}
		r.mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		return err
	})
	must(t, err)
	t.Cleanup(func() {
		must(t, unix.Munmap(r.mem))
		must(t, unix.Close(r.fd))
	})
	return r
}

func (r *ring) statusWord(unit int) *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[unit*r.unit+r.status]))
}

// ready reports whether the unit at has frames.
func (r *ring) ready(at int) bool {
	return atomic.LoadUint32(r.statusWord(at))&unix.TP_STATUS_USER != 0
}

func (r *ring) release() {
	atomic.StoreUint32(r.statusWord(r.at), unix.TP_STATUS_KERNEL)
	r.at = (r.at + 1) % (len(r.mem) / r.unit)
}

func (r *ring) poll() {
	fds := [1]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], 100)
}

// Frames of ringV2 and ringV3 are valid until the next receive.
type ringV2 struct {
	*ring
	used int // slots to release
}

func (r *ringV2) receive(frames []forward.Frame) int {
	for ; r.used > 0; r.used-- {
		r.release()
	}
	units := len(r.mem) / r.unit
	for r.used < len(frames) && r.ready((r.at+r.used)%units) {
		start := (r.at + r.used) % units * r.unit
		slot := r.mem[start : start+r.unit]
		packet(&frames[r.used], slot, binary.NativeEndian.Uint32(slot[8:]), binary.NativeEndian.Uint16(slot[12:]))
		r.used++
	}
	return r.used
}

type ringV3 struct{ *ring }

func (r *ringV3) receive(frames []forward.Frame) int {
	if r.left == 0 {
		if r.block != nil {
			r.release()
			r.block = nil
		}
		if !r.ready(r.at) {
			return 0
		}
		block := r.mem[r.at*r.unit : (r.at+1)*r.unit]
		r.left = int(binary.NativeEndian.Uint32(block[12:]))
		r.block = block[binary.NativeEndian.Uint32(block[16:]):]
	}
	n := 0
	for ; n < len(frames) && r.left > 0; r.left-- {
		packet(&frames[n], r.block, binary.NativeEndian.Uint32(r.block[12:]), binary.NativeEndian.Uint16(r.block[24:]))
		r.block = r.block[binary.NativeEndian.Uint32(r.block):]
		n++
	}
	return n
}

func packet(f *forward.Frame, slot []byte, length uint32, mac uint16) {
	f.Buf, f.Head, f.Tail = slot, int(mac), int(mac)+int(length)
	f.Offload = decodeOffload(slot[mac-vnetLen : mac])
}
