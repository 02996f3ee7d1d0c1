// Package procgroup runs a command so that nothing it starts outlives it.
package procgroup

import (
	"errors"
	"os/exec"
	"time"
)

// drain is how long a process that left the group may hold the output open after
// the command has ended.
const drain = 50 * time.Millisecond

// Run runs cmd, which exec.CommandContext made, as the leader of a process group.
// When its context ends, or the command has ended, whatever is left of the group is
// killed. (Where there are no process groups, only the command.) SIGTERM first would
// need time that there no longer is.
func Run(cmd *exec.Cmd) error {
	lead(cmd)
	cmd.Cancel = func() error { return kill(cmd) }
	cmd.WaitDelay = drain
	err := cmd.Run()
	if cmd.Process != nil {
		_ = kill(cmd) // mostly there is nobody left
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // the command itself succeeded
	}
	return err
}
