package afpacket

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kernelHasUSO reports whether virtio_net_hdr has a name for super-packets of UDP. A
// kernel without it refuses each with EINVAL, when it would be too late.
func kernelHasUSO() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && atLeast(unix.ByteSliceToString(u.Release[:]), 6, 2)
}

// atLeast compares a kernel's release, like 6.12.0-3-amd64, with a version.
func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
