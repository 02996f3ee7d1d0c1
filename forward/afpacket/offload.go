package afpacket

import (
	"encoding/binary"

	"github.com/golb/golb/forward"
)

// vnetLen is the length in bytes of virtio_net_hdr, whose fields are in the host's byte
// order (virtio 1.2 §5.1.6, legacy interface without merged buffers).
const vnetLen = 10

// Flags of virtio_net_hdr.
const (
	vnetNeedsCsum = 1
	vnetDataValid = 2
)

func decodeOffload(h []byte) forward.Offload {
	_ = h[vnetLen-1]
	return forward.Offload{
		NeedsCsum:  h[0]&vnetNeedsCsum != 0,
		DataValid:  h[0]&vnetDataValid != 0,
		GSO:        forward.GSOType(h[1]),
		HdrLen:     binary.NativeEndian.Uint16(h[2:]),
		GSOSize:    binary.NativeEndian.Uint16(h[4:]),
		CsumStart:  binary.NativeEndian.Uint16(h[6:]),
		CsumOffset: binary.NativeEndian.Uint16(h[8:]),
	}
}

// encodeOffload leaves out DataValid, which has no meaning when a frame is sent.
func encodeOffload(h []byte, o *forward.Offload) {
	_ = h[vnetLen-1]
	h[0] = 0
	if o.NeedsCsum {
		h[0] = vnetNeedsCsum
	}
	h[1] = byte(o.GSO)
	binary.NativeEndian.PutUint16(h[2:], o.HdrLen)
	binary.NativeEndian.PutUint16(h[4:], o.GSOSize)
	binary.NativeEndian.PutUint16(h[6:], o.CsumStart)
	binary.NativeEndian.PutUint16(h[8:], o.CsumOffset)
}
