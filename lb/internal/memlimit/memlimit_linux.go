package memlimit

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OfProcess returns the least limit that this process is under: that of the machine, of its
// cgroups, and what its address space (RLIMIT_AS) has left, of which Go's runtime takes some
// hundred megabytes at start.
func OfProcess() Limit {
	least := in(os.DirFS("/"))
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) == nil && r.Cur != unix.RLIM_INFINITY {
		used := addressSpace()
		least.least(max(r.Cur, used)-used, "what is left of the address space (ulimit -v)")
	}
	return least
}

// addressSpace is how much of it is in use, in bytes: proc(5), statm.
func addressSpace() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.ParseUint(pages, 10, 64)
	if err != nil {
		return 0
	}
	return n * uint64(os.Getpagesize())
}
