package afpacket

import (
	"fmt"
	"net"

	"github.com/golb/golb/forward"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func (s *socket) setFilter(f forward.Filter) (exact bool, err error) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if s.closed.Load() {
		return false, net.ErrClosed
	}
	if exact, err = s.attachFilter(f); err != nil {
		return false, fmt.Errorf("afpacket: filter on %s: %w", s.label, err)
	}
	return exact, nil
}

// attachFilter leaves the old filter in place if it fails.
func (s *socket) attachFilter(f forward.Filter) (exact bool, err error) {
	if s.in.fd < 0 {
		return false, fmt.Errorf("the port only sends: %w", unix.EINVAL)
	}
	prog, exact, err := compile(f, s.macs)
	if err != nil {
		return false, err
	}
	return exact, attach(s.in.fd, prog)
}

// attach makes prog the socket's filter. The kernel copies it, and keeps the one before if
// it fails.
func attach(fd int, prog []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	if err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER with %d instructions: %w", len(prog), err)
	}
	return nil
}
