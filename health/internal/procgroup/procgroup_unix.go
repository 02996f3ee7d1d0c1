//go:build unix

package procgroup

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func lead(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func kill(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err == syscall.ESRCH {
		return os.ErrProcessDone
	}
	return err
}

// pipeSize is what a pipe holds: more than that was written later.
const pipeSize = 64 << 10

// rest copies what is in the pipe, without waiting for more.
func rest(to io.Writer, pipe *os.File) {
	_ = pipe.SetReadDeadline(time.Time{})
	conn, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 4<<10)
	for total, n := 0, 1; n > 0 && total < pipeSize; total += n {
		err := conn.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf) // it does not wait: nothing is -1
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
