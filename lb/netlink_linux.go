package lb

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostChanges tells when interfaces, addresses, routes, rules or next hop objects of the
// host may have changed. It says no more than that: who is told reads anew what it needs,
// so a message that was lost does no harm as long as the loss is noticed.
//
// A socket that was overrun (ENOBUFS), or fails otherwise, is opened again.
type hostChanges struct {
	changed   chan struct{} // has an element after changes
	logger    *slog.Logger
	namespace netns.NsHandle // in which it was opened
	lost      atomic.Uint64  // how often messages were lost

	mu     sync.Mutex
	socket *nl.NetlinkSocket
	closed bool
	done   chan struct{}
}

// changeGroups are the kinds of messages. Where an interface goes down, its IPv4 routes go
// without a message of their own.
var changeGroups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP,
}

// reopenPause is the time between attempts to open the socket again.
const reopenPause = time.Second

// openChanges opens a subscription in the network namespace of the calling thread. Run
// serves it.
func openChanges(logger *slog.Logger) (*hostChanges, error) {
	namespace, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("lb: network namespace: %w", err)
	}
	c := &hostChanges{changed: make(chan struct{}, 1), done: make(chan struct{}), logger: logger, namespace: namespace}
	if c.socket, err = nl.Subscribe(unix.NETLINK_ROUTE, changeGroups...); err != nil {
		namespace.Close()
		return nil, fmt.Errorf("lb: subscribe to changes of the host: %w", err)
	}
	return c, nil
}

// run receives until close.
func (c *hostChanges) run() {
	for {
		_, _, err := c.current().Receive()
		if err != nil && !c.reopen(err) {
			return
		}
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

func (c *hostChanges) current() *nl.NetlinkSocket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socket
}

// reopen replaces a socket that has failed; it returns false once c is closed.
func (c *hostChanges) reopen(cause error) bool {
	for {
		open, err := c.tryReopen(&cause)
		if err == nil {
			return open
		}
		c.logger.Error("routes and interfaces are not followed", "reason", err.Error())
		select {
		case <-c.done:
			return false
		case <-time.After(reopenPause):
		}
	}
}

// tryReopen counts and logs the cause, which it then sets to nil; open is false once c is
// closed.
func (c *hostChanges) tryReopen(cause *error) (open bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, nil
	}
	if *cause != nil && c.lost.Add(1) == 1 {
		c.logger.Warn("messages of the kernel were lost: routes and interfaces are read anew, now and whenever it happens again", "reason", (*cause).Error())
	}
	*cause = nil
	socket, err := c.subscribe()
	if err != nil {
		return true, err
	}
	c.socket.Close()
	c.socket = socket
	return true, nil
}

// subscribe opens a socket in c's namespace. To enter it takes CAP_SYS_ADMIN, which a
// process in one namespace does not need.
func (c *hostChanges) subscribe() (*nl.NetlinkSocket, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer here.Close()
	if here.Equal(c.namespace) {
		return nl.Subscribe(unix.NETLINK_ROUTE, changeGroups...)
	}
	return nl.SubscribeAt(c.namespace, here, unix.NETLINK_ROUTE, changeGroups...)
}

func (c *hostChanges) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.done)
	c.socket.Close()
	c.namespace.Close()
}
