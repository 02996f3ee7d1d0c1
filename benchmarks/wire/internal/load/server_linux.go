package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Serve answers clients of mode m at addr, with threads threads, until ctx ends. It calls ready when it listens.
func Serve(ctx context.Context, addr netip.AddrPort, m Mode, threads int, ready func()) error {
	if m == Download || m == Upload {
		return serveBulk(ctx, addr, m, ready)
	}
	var loops []*serving
	defer func() {
		for _, s := range loops {
			s.close()
		}
	}()
	for range threads {
		s := &serving{oneMessage: m == Connect, buf: make([]byte, MessageLen)}
		loops = append(loops, s)
		if err := s.open(addr); err != nil {
			return err
		}
	}
	ready()
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range loops {
		g.Go(func() error { return s.run(ctx) })
	}
	return g.Wait()
}

// serving is one thread of an echo server.
type serving struct {
	poll       *epoll
	listener   int
	oneMessage bool // a connection has one message
	buf        []byte
}

func (s *serving) open(addr netip.AddrPort) (err error) {
	s.listener = -1
	if s.poll, err = newEpoll(); err != nil {
		return err
	}
	if s.listener, err = listen(addr); err != nil {
		return err
	}
	return s.poll.add(s.listener, unix.EPOLLIN)
}

func (s *serving) close() {
	if s.poll != nil {
		s.poll.close()
	}
	if s.listener >= 0 {
		unix.Close(s.listener)
	}
}

func (s *serving) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		events, err := s.poll.wait()
		if err != nil {
			return err
		}
		for i := range events {
			if fd := int(events[i].Fd); fd == s.listener {
				err = s.accept()
			} else {
				s.answer(fd)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *serving) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			unix.Close(fd)
			continue
		}
		if err := s.poll.add(fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
}

// answer sends as many bytes as have come, up to a message.
func (s *serving) answer(fd int) {
	n, err := unix.Read(fd, s.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err == nil && n > 0 {
		if _, err = unix.Write(fd, s.buf[:n]); err == nil && !s.oneMessage {
			return
		}
	}
	unix.Close(fd)
}

// serveBulk has a goroutine for each connection: they are few, and each call moves much.
func serveBulk(ctx context.Context, addr netip.AddrPort, m Mode, ready func()) error {
	ln, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	ready()
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			ln.Close()
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			move(c, m == Download, func(int) {})
			return nil
		})
	}
}

// move sends, or takes, until the connection ends, and tells how many bytes at a time.
func move(c net.Conn, send bool, moved func(n int)) {
	buf := make([]byte, 256<<10)
	do := c.Read
	if send {
		do = c.Write
	}
	for {
		n, err := do(buf)
		moved(n)
		if err != nil {
			return
		}
	}
}
