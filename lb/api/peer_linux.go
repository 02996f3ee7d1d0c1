package api

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/golb/golb/health/printable"
)

// maxCommand bounds the name of a command in bytes; Linux cuts it at 15.
const maxCommand = 64

// peerOf returns the process that opened a connection (unix(7), SO_PEERCRED), as it is
// called now.
func peerOf(c net.Conn) (p peer, ok bool) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return p, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return p, false
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return p, false
	}
	p = peer{uid: cred.Uid, pid: cred.Pid}
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid)); err == nil {
		p.command = printable.Line(string(name), maxCommand)
	}
	return p, true
}
