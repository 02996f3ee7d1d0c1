package afpacket

// Pin binds the calling thread to one processor, by number (sched_setaffinity). The
// goroutine calls runtime.LockOSThread before, and does not unlock, so that the thread ends
// with it. The error wraps EINVAL for a processor that does not exist or that the
// process's cpuset excludes.
func Pin(cpu int) error { return pin(cpu) }

// Processors returns the numbers of the processors that the calling thread may run on, in
// ascending order.
func Processors() ([]int, error) { return processors() }
