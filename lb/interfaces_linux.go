package lb

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hostInterfaces is the kernel's InterfaceMonitor. Its sockets belong to the network
// namespace in which it was opened, whatever thread uses it.
type hostInterfaces struct {
	handle  *netlink.Handle
	changes *nl.NetlinkSocket
	closed  atomic.Bool
	byIndex map[int]HostInterface // nil: to be read anew
}

func openInterfaces() (InterfaceMonitor, error) {
	m := &hostInterfaces{}
	var err error
	// The subscription comes first: what changes while the list is read is told afterwards.
	if m.changes, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK); err != nil {
		return nil, fmt.Errorf("lb: subscribe to interfaces: %w", err)
	}
	if m.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		m.changes.Close()
		return nil, fmt.Errorf("lb: open netlink: %w", err)
	}
	return m, nil
}

func (m *hostInterfaces) Next() ([]HostInterface, error) {
	changed := m.byIndex == nil
	for !changed {
		messages, _, err := m.changes.Receive()
		switch {
		case m.closed.Load():
			return nil, net.ErrClosed
		case errors.Is(err, unix.ENOBUFS): // messages are lost
			m.byIndex, changed = nil, true
		case err != nil:
			return nil, fmt.Errorf("lb: interfaces: %w", err)
		}
		for _, msg := range messages {
			changed = m.apply(msg.Header.Type, msg.Data) || changed
		}
	}
	if m.byIndex == nil {
		if err := m.read(); err != nil {
			return nil, err
		}
	}
	return slices.Collect(maps.Values(m.byIndex)), nil
}

// apply takes in a message, and reports whether an interface has changed. A message that
// cannot be understood has everything read anew.
func (m *hostInterfaces) apply(kind uint16, data []byte) bool {
	if kind != unix.RTM_NEWLINK && kind != unix.RTM_DELLINK || m.byIndex == nil || len(data) < unix.SizeofIfInfomsg {
		return false
	}
	msg := nl.DeserializeIfInfomsg(data)
	if msg.Family != unix.AF_UNSPEC {
		return false // about a port of a bridge
	}
	index := int(msg.Index)
	old, had := m.byIndex[index]
	if kind == unix.RTM_DELLINK {
		delete(m.byIndex, index)
		return had
	}
	link, err := netlink.LinkDeserialize(&unix.NlMsghdr{Type: kind}, data)
	if err != nil {
		m.byIndex = nil
		return true
	}
	now := hostInterfaceOf(link.Attrs())
	m.byIndex[index] = now
	return now != old
}

// read reads all interfaces, until no change interrupts it.
func (m *hostInterfaces) read() error {
	for {
		links, err := m.handle.LinkList()
		if m.closed.Load() {
			return net.ErrClosed
		}
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lb: list interfaces: %w", err)
		}
		m.byIndex = map[int]HostInterface{}
		for _, l := range links {
			m.byIndex[l.Attrs().Index] = hostInterfaceOf(l.Attrs())
		}
		return nil
	}
}

func hostInterfaceOf(a *netlink.LinkAttrs) HostInterface {
	h := HostInterface{
		Index: a.Index, Name: a.Name, MTU: a.MTU,
		Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&(unix.IFF_UP|unix.IFF_RUNNING) == unix.IFF_UP|unix.IFF_RUNNING,
	}
	copy(h.MAC[:], a.HardwareAddr)
	return h
}

func (m *hostInterfaces) Close() error {
	m.closed.Store(true)
	m.changes.Close()
	m.handle.Close()
	return nil
}
