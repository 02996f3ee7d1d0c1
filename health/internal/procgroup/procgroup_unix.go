//go:build unix

package procgroup

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err == syscall.ESRCH {
		return os.ErrProcessDone
	}
	return err
}

// pipeSize is how many bytes a pipe holds: what exceeds it was written later.
const pipeSize = 64 << 10

// copyRest copies what is in the pipe, without waiting for more.
func copyRest(to io.Writer, pipe *os.File) {
	_ = pipe.SetReadDeadline(time.Time{})
	conn, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 4<<10)
	for total, n := 0, 1; n > 0 && total < pipeSize; total += n {
		err := conn.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf) // does not block: -1 where the pipe is empty
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
