package afpacket

import (
	"fmt"
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func (s *socket) setFilter(prog []bpf.RawInstruction) error {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	if s.in.fd < 0 {
		return fmt.Errorf("afpacket: filter on %s: the port only sends: %w", s.label, unix.EINVAL)
	}
	if prog != nil {
		return attachRaw(s.in.fd, prog)
	}
	return attach(s.in.fd, anyFrame())
}

func attach(fd int, ins []bpf.Instruction) error {
	prog, err := bpf.Assemble(ins)
	if err != nil {
		return fmt.Errorf("afpacket: filter: %w", err)
	}
	return attachRaw(fd, prog)
}

func attachRaw(fd int, prog []bpf.RawInstruction) error {
	if len(prog) == 0 || len(prog) > MaxFilter {
		return fmt.Errorf("afpacket: filter of %d instructions: %w", len(prog), unix.EINVAL)
	}
	code := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	if err != nil {
		return fmt.Errorf("afpacket: filter of %d instructions: %w", len(prog), err)
	}
	return nil
}
