package afpacket

// Pin binds the calling thread to one processor, by number (sched_setaffinity). A
// goroutine locks itself to its thread first, and does not unlock itself: the thread
// ends with it. It fails with EINVAL for a processor that does not exist, or that the
// process is kept off by its cpuset.
func Pin(cpu int) error { return pin(cpu) }

// Processors returns the numbers of those that the calling thread may run on,
// ascending.
func Processors() ([]int, error) { return processors() }
