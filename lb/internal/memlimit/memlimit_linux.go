package memlimit

import (
	"os"

	"golang.org/x/sys/unix"
)

// OfProcess returns the least limit that this process is under: that of the machine, of its
// cgroups, and of its address space (RLIMIT_AS).
func OfProcess() Limit {
	least := in(os.DirFS("/"))
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) == nil && r.Cur != unix.RLIM_INFINITY {
		least.least(r.Cur, "the limit of the address space (ulimit -v)")
	}
	return least
}
