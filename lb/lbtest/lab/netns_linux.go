package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a network namespace held by a descriptor, with a netlink socket inside it.
type space struct {
	fd netns.NsHandle

	mu sync.RWMutex // held while fd or nl is in use, so that neither is closed, and its number reused, meanwhile
	nl *netlink.Handle
}

var errClosed = errors.New("the lab is closed")

// newSpace makes a namespace with lo up, without leaving the calling thread in it.
func newSpace() (_ *space, err error) {
	s := &space{fd: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := inNew(func(fd netns.NsHandle) { s.fd = fd }); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	var nl *netlink.Handle
	err = s.do(func() (err error) {
		nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	s.nl = nl
	if err := s.setUp("lo", true); err != nil {
		return nil, err
	}
	return s, nil
}

// inNew moves the calling thread into a new namespace, hands out a descriptor of it, and moves back.
func inNew(take func(netns.NsHandle)) error {
	return restoring(func() error {
		fd, err := netns.New()
		if err != nil {
			return err
		}
		take(fd)
		return nil
	})
}

// restoring runs f on a locked thread and puts the thread back into the namespace it was in. A thread that cannot be put
// back stays locked, so that it dies with the goroutine and no other goroutine ever runs on it.
func restoring(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's network namespace: %w", err)
	}
	// Deferred, so that a panic or a t.FailNow inside f does not leave the thread abroad.
	defer func() {
		// Without privilege it cannot have left, nor return.
		if back := netns.Set(home); back != nil && !isIn(home) {
			err = errors.Join(err, fmt.Errorf("return to the thread's network namespace: %w", back))
		} else {
			runtime.UnlockOSThread()
		}
		err = errors.Join(err, home.Close())
	}()
	return f()
}

func isIn(ns netns.NsHandle) bool {
	now, err := netns.Get()
	if err != nil {
		return false
	}
	defer now.Close()
	return now.Equal(ns)
}

func (s *space) do(f func() error) error {
	return restoring(func() error {
		if err := s.enter(); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// enter moves the calling thread, which must be locked, into the namespace.
func (s *space) enter() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.fd.IsOpen() {
		return errClosed
	}
	return netns.Set(s.fd)
}

// rtnl runs f on the namespace's netlink socket. f must not call other methods of s.
func (s *space) rtnl(f func(*netlink.Handle) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.nl == nil {
		return errClosed
	}
	return f(s.nl)
}

// withLink is rtnl on an interface.
func (s *space) withLink(ifname string, f func(*netlink.Handle, netlink.Link) error) error {
	return s.rtnl(func(nl *netlink.Handle) error {
		link, err := nl.LinkByName(ifname)
		if err != nil {
			return fmt.Errorf("interface %s: %w", ifname, err)
		}
		return f(nl, link)
	})
}

// sysctls writes key, value pairs; the keys are per namespace because the writing thread is inside it.
func (s *space) sysctls(pairs ...[2]string) error {
	return s.do(func() error {
		for _, p := range pairs {
			if err := writeSysctl(p[0], p[1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeSysctl(key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl %s=%s: %w", key, value, errors.Unwrap(err))
	}
	return nil
}

func (s *space) setUp(ifname string, up bool) error {
	return s.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) error {
		if !up {
			return nl.LinkSetDown(link)
		}
		return nl.LinkSetUp(link)
	})
}

// clear deletes every interface that the kernel lets go, so that nothing waits for the namespace's own deferred end.
func (s *space) clear() error {
	err := s.rtnl(deleteLinks)
	if errors.Is(err, errClosed) {
		return nil
	}
	return err
}

func deleteLinks(nl *netlink.Handle) error {
	links, err := nl.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, link := range links {
		err := nl.LinkDel(link)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENODEV): // a veth takes its peer along, so a link on the list may be gone by now
		case errors.Is(err, unix.EOPNOTSUPP): // lo, and what tunnel modules put into every namespace, go with it
		default:
			errs = append(errs, fmt.Errorf("delete %s: %w", link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *space) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nl != nil {
		s.nl.Close()
		s.nl = nil
	}
	if !s.fd.IsOpen() {
		return nil
	}
	return s.fd.Close()
}
