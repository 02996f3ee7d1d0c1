// Package procgroup runs a command so that nothing it starts outlives it.
package procgroup

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// drain is how long a process that left the group may hold the input open after
// the command has ended.
const drain = 50 * time.Millisecond

// Run runs cmd, which exec.CommandContext made, as the leader of a process group.
// When its context ends, or the command has ended, whatever is left of the group is
// killed. (Where there are no process groups, only the command.) SIGTERM first would
// need time that there no longer is. What they have written by then is in the
// command's Stdout, and in its Stderr if that is the same writer; a process that left
// the group is not waited for.
func Run(cmd *exec.Cmd) error {
	lead(cmd)
	cmd.Cancel = func() error { return kill(cmd) }
	cmd.WaitDelay = drain
	finish, err := gather(cmd)
	if err != nil {
		return err
	}
	err = cmd.Run()
	if cmd.Process != nil {
		_ = kill(cmd) // mostly there is nobody left
	}
	finish()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // the command itself succeeded
	}
	return err
}

// gather has the command write to a pipe, from which it is copied to its Stdout while
// it runs. finish copies what is left once nobody of the group writes any more. (The
// copying of package exec waits for those who may write, a while, and then loses what
// it has not got round to.)
func gather(cmd *exec.Cmd) (finish func(), err error) {
	to := cmd.Stdout
	if to == nil {
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == to {
		cmd.Stderr = w
	}
	cmd.Stdout = w
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(to, r)
	}()
	return func() {
		_ = w.Close()
		_ = r.SetReadDeadline(time.Now())
		<-copied
		rest(to, r)
		_ = r.Close()
	}, nil
}
