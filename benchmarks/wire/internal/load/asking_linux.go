package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// asking is one thread of a client.
type asking struct {
	client     *Client
	target     *unix.SockaddrInet4
	conns      int
	oneMessage bool // a connection for each message

	poll  *epoll
	open  map[int]*asked // by descriptor
	buf   []byte
	times []time.Duration
}

// asked is one connection.
type asked struct {
	connected bool
	since     time.Time
	got       int // bytes of the answer
}

func (l *asking) run(ctx context.Context) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.open, l.buf = map[int]*asked{}, make([]byte, 2*MessageLen)
	if l.poll, err = newEpoll(); err != nil {
		return err
	}
	defer l.close()
	for range l.conns {
		if err := l.connect(); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		events, err := l.poll.wait()
		if err != nil {
			return err
		}
		for i := range events {
			if err := l.ready(int(events[i].Fd), events[i].Events); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *asking) close() {
	for fd := range l.open {
		unix.Close(fd)
	}
	l.poll.close()
}

func (l *asking) connect() error {
	since := time.Now()
	fd, err := socket()
	if err != nil {
		return err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		err = unix.Connect(fd, l.target)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	l.open[fd] = &asked{since: since}
	return l.poll.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// ready goes on with a connection. Each event is reported once, so what is there has to be taken whole.
func (l *asking) ready(fd int, events uint32) error {
	c := l.open[fd]
	if !c.connected {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && n != 0 {
				err = unix.Errno(n)
			}
			return l.broken(fd, err)
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		c.connected = true
		if err := l.ask(fd); err != nil {
			return l.broken(fd, err)
		}
		if !l.oneMessage {
			c.since = time.Now()
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return nil
	}
	return l.take(fd, c)
}

func (l *asking) ask(fd int) error {
	_, err := unix.Write(fd, l.buf[:MessageLen])
	return os.NewSyscallError("write", err)
}

// take reads an answer, or, where there is one connection for each, the answer and the end.
func (l *asking) take(fd int, c *asked) error {
	for {
		n, err := unix.Read(fd, l.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return l.broken(fd, os.NewSyscallError("read", err))
		case n == 0 && l.oneMessage && c.got == MessageLen:
			l.count(c)
			l.drop(fd)
			return l.connect()
		case n == 0:
			return l.broken(fd, errors.New("the server closed the connection"))
		}
		if c.got += n; c.got < MessageLen || l.oneMessage {
			continue
		}
		l.count(c)
		c.got, c.since = 0, time.Now()
		if err := l.ask(fd); err != nil {
			return l.broken(fd, err)
		}
	}
}

func (l *asking) count(c *asked) {
	l.client.done.Add(1)
	if l.client.measuring.Load() {
		l.times = append(l.times, time.Since(c.since))
	}
}

// broken replaces a connection; where nothing has ever worked, that is the end.
func (l *asking) broken(fd int, err error) error {
	l.drop(fd)
	l.client.failed.Add(1)
	if l.client.done.Load() == 0 {
		return fmt.Errorf("first connection: %w", err)
	}
	return l.connect()
}

func (l *asking) drop(fd int) {
	delete(l.open, fd)
	unix.Close(fd)
}
