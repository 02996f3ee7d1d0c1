package lab

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// resident is a thread that lives in a host. Processes are started from it because the signal that ends them with their
// parent is tied to the life of the thread that started them, which therefore must not be a thread of the scheduler's pool.
type resident struct {
	work chan func()
	done chan struct{}

	mu     sync.Mutex
	killed bool
	procs  []*exec.Cmd
}

func newResident(ns *space) (*resident, error) {
	r := &resident{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go r.live(ns, ready)
	return r, <-ready
}

func (r *resident) live(ns *space, ready chan<- error) {
	runtime.LockOSThread() // never unlocked below: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end before the process, and would hold the namespace until then. While this goroutine
		// keeps it, another gets another.
		moved := make(chan error)
		go r.live(ns, moved)
		ready <- <-moved
		runtime.UnlockOSThread()
		return
	}
	defer close(r.done)
	err := ns.enter()
	ready <- err
	if err != nil {
		return
	}
	for f := range r.work {
		f()
	}
}

func (r *resident) start(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errClosed
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	r.work <- func() { result <- cmd.Start() }
	err := <-result
	if err == nil {
		r.procs = append(r.procs, cmd)
	}
	return err
}

// close kills what still runs; it is the starter's to wait for.
func (r *resident) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return
	}
	r.killed = true
	for _, cmd := range r.procs {
		_ = cmd.Process.Kill() // fails only where the process has ended
	}
	close(r.work)
	<-r.done
}
