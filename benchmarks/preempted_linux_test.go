package benchmarks

import "syscall"

// preemptions is how often the calling thread had to give its processor up to
// others.
func preemptions() int64 {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		return 0
	}
	return u.Nivcsw
}
