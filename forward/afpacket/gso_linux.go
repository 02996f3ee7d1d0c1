package afpacket

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kernelHasUSO reports whether virtio_net_hdr has a GSO type for UDP. A kernel without it
// refuses such super-packets with EINVAL, and it is then too late to send their segments.
func kernelHasUSO() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && atLeast(unix.ByteSliceToString(u.Release[:]), 6, 2)
}

// atLeast reports whether a kernel's release, such as 6.12.0-3-amd64, is of that version or
// later.
func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
