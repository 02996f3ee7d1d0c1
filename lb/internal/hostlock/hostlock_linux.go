package hostlock

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/golb/golb/health/printable"
)

// Set is the VIPs that a balancer holds. Its methods may be called from any goroutine. The
// zero value holds none.
type Set struct {
	mu   sync.Mutex
	held map[VIP]*socket
}

// Hold makes the set hold exactly these VIPs, in the network namespace of the calling
// thread. Where it fails, with a *TakenError or for want of a socket, the set is as before.
func (s *Set) Hold(vips []VIP) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	want, fresh := map[VIP]bool{}, map[VIP]*socket{}
	var err error
	for _, v := range vips {
		if !want[v] && s.held[v] == nil && err == nil {
			fresh[v], err = listen(v)
		}
		want[v] = true
	}
	if err == nil && len(fresh) > 0 {
		err = s.overlap(fresh)
	}
	if err != nil {
		closeAll(fresh)
		return err
	}
	for v, l := range s.held {
		if want[v] {
			fresh[v] = l
		} else {
			l.close()
		}
	}
	s.held = fresh
	return nil
}

// Close holds nothing any more.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeAll(s.held)
	s.held = nil
}

func closeAll(list map[VIP]*socket) {
	for _, l := range list {
		if l != nil {
			l.close()
		}
	}
}

// socket holds a VIP.
type socket struct {
	net.Listener
	ended chan struct{} // closed after the goroutine that accepts
}

func (s *socket) close() {
	_ = s.Close()
	<-s.ended
}

// listen opens the socket of a VIP. It accepts whoever asks who holds it.
func listen(v VIP) (*socket, error) {
	l, err := net.Listen("unix", v.name())
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, holder(v)
	}
	if err != nil {
		return nil, fmt.Errorf("hold VIP: %w", err)
	}
	s := &socket{l, make(chan struct{})}
	go func() {
		defer close(s.ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return s, nil
}

// overlap finds a VIP of another process that is part of one of these, or the other way
// round. Such have another name.
func (s *Set) overlap(fresh map[VIP]*socket) error {
	f, err := os.Open("/proc/thread-self/net/unix")
	if err != nil {
		return nil // a host without /proc: equal ones are found all the same
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		other, ok := parse(fields[len(fields)-1])
		if !ok || s.held[other] != nil || fresh[other] != nil {
			continue
		}
		for v := range fresh {
			if v.overlaps(other) {
				return holder(other)
			}
		}
	}
	return nil
}

// holder is the error of a VIP that is taken.
func holder(v VIP) error {
	taken := &TakenError{VIP: v}
	c, err := net.Dial("unix", v.name())
	if err != nil {
		return taken
	}
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return taken
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return taken
	}
	taken.PID, taken.Self = int(cred.Pid), int(cred.Pid) == os.Getpid()
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cred.Pid)); err == nil {
		taken.Command = printable.Line(strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")), maxCommand)
	}
	return taken
}

// maxCommand bounds a command line in bytes.
const maxCommand = 200
