package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// DefaultPath returns the path of this user's balancer's socket: the variable GOLB_SOCKET;
// or golb.sock in XDG_RUNTIME_DIR, where that is set and the user is not root; or
// /run/golb.sock.
func DefaultPath() string {
	if path := os.Getenv("GOLB_SOCKET"); path != "" {
		return path
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || os.Geteuid() == 0 {
		dir = "/run"
	}
	return filepath.Join(dir, "golb.sock")
}

// patience is the time that either side waits for the other.
const patience = 5 * time.Second

// ErrTaken is the error of Listen where another process serves the socket.
var ErrTaken = errors.New("another process serves it")

// Listen opens a Unix socket that only its owner, and root, can use. A socket that
// a dead process has left there is replaced; one that is served is not: ErrTaken.
func Listen(path string) (net.Listener, error) { return ListenGroup(path, -1) }

// ListenGroup is Listen of a socket that the members of a group can use too; gid -1 is none.
// golb's user must be a member, or root.
func ListenGroup(path string, gid int) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, patience); err == nil {
		defer conn.Close()
		if p, ok := peerOf(conn); ok {
			return nil, fmt.Errorf("api: socket %s: %w: %s", path, ErrTaken, p)
		}
		return nil, fmt.Errorf("api: socket %s: %w", path, ErrTaken)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("api: socket %s: a file that is not a socket is in its place", path)
	}
	// It is made in a private directory and moved once its mode is set, so that no other
	// user can connect in between.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".golb")
	if err != nil {
		return nil, fmt.Errorf("api: socket %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	private := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("api: socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	created, err := publish(private, path, gid)
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("api: socket %s: %w", path, err)
	}
	return &listener{UnixListener: l, path: path, created: created}, nil
}

// publish sets the group and mode of a socket and moves it to its path.
func publish(from, to string, gid int) (os.FileInfo, error) {
	mode := os.FileMode(0o600)
	if gid >= 0 {
		mode = 0o660
		if err := os.Chown(from, -1, gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(from, mode); err != nil {
		return nil, err
	}
	if err := os.Rename(from, to); err != nil {
		return nil, err
	}
	return os.Lstat(to)
}

// listener removes its socket when it is closed, unless another is at the path by then.
type listener struct {
	*net.UnixListener
	path       string
	created    os.FileInfo
	removeOnce sync.Once
}

// Close ends the listener.
func (l *listener) Close() error {
	l.removeOnce.Do(func() {
		if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.created) {
			_ = os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

// maxConnections bounds the connections to a balancer, and so the descriptors that clients
// take from it. Further ones wait until others end; those that are idle do in 5 s.
const maxConnections = 32

// limited is a listener that accepts a connection only while less than cap(free) are open.
type limited struct {
	net.Listener
	free chan struct{}
}

// Accept waits for a connection.
func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{} // not for ever: each connection ends within the server's timeouts
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return c, nil
}

// follow frees the place of a connection that has ended.
func (l *limited) follow(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		<-l.free
	}
}

// Serve answers on l until ctx ends, and closes it. It serves 32 connections at a time.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	few := &limited{Listener: l, free: make(chan struct{}, maxConnections)}
	s := &http.Server{ConnState: few.follow, Handler: h, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience, ConnContext: withPeer}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(last) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(few)
	if !stop() {
		<-ended
		return nil
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("api: %w", err)
}
