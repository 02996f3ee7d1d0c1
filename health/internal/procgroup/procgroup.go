// Package procgroup runs a command so that nothing it starts outlives it.
package procgroup

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// waitDelay is for how long a process that left the group may keep the standard input
// open after the command has ended.
const waitDelay = 50 * time.Millisecond

// Run runs cmd, which exec.CommandContext made, as the leader of a process group. When
// its context or the command has ended, the rest of the group gets SIGKILL; a SIGTERM
// before would need time that is over. (On systems without process groups, only the
// command is killed.) All output of the group until then is in cmd.Stdout, and in
// cmd.Stderr if that is the same writer. A process that left the group is not waited
// for.
func Run(cmd *exec.Cmd) error {
	setGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = waitDelay
	finish, err := copyOutput(cmd)
	if err != nil {
		return err
	}
	err = cmd.Run()
	if cmd.Process != nil {
		_ = killGroup(cmd) // fails where the group is empty
	}
	finish()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // the command itself succeeded
	}
	return err
}

// copyOutput has the command write to a pipe, which is copied to its Stdout while it
// runs. finish copies the rest once no process of the group writes any more. (The copying
// of package exec waits for all that may write, for WaitDelay, and then drops the rest.)
func copyOutput(cmd *exec.Cmd) (finish func(), err error) {
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
		copyRest(to, r)
		_ = r.Close()
	}, nil
}
