package lb

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestTheKernelsInterfacesAreFollowed: what netlink tells, and what it had no room to tell.
func TestTheKernelsInterfacesAreFollowed(t *testing.T) {
	h := routedHost(t)
	var opened InterfaceMonitor
	must(t, h.Do(func() (err error) {
		opened, err = openInterfaces()
		return err
	}))
	m := opened.(*hostInterfaces)
	lists, ended := make(chan []HostInterface, 1000), make(chan error)
	read := make(chan struct{}, 1000) // an element lets Next be called
	go func() {
		for range read {
			list, err := m.Next()
			if err != nil {
				ended <- err
				return
			}
			lists <- list
		}
	}()
	await := func(what string, is func(map[string]HostInterface) bool) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			select {
			case list := <-lists:
				byName := map[string]HostInterface{}
				for _, h := range list {
					byName[h.Name] = h
				}
				if is(byName) {
					return
				}
				read <- struct{}{}
			case <-deadline:
				t.Fatalf("not told: %s", what)
			}
		}
	}
	change := func(name string, do func(netlink.Link) error) {
		t.Helper()
		must(t, h.Do(func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return do(l)
		}))
	}
	read <- struct{}{}
	await("all", func(all map[string]HostInterface) bool {
		return all["eth0"].Up && all["eth0"].Carrier && all["eth0"].MTU == 1500 && !all["eth0"].MAC.IsZero() && all["eth1"].Index != 0
	})
	for _, step := range []struct {
		what string
		do   func(netlink.Link) error
		is   func(HostInterface) bool
	}{
		{"MTU", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1400) }, func(h HostInterface) bool { return h.MTU == 1400 }},
		{"MAC", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 9, 9}) }, func(h HostInterface) bool { return h.MAC[5] == 9 }},
		{"down", netlink.LinkSetDown, func(h HostInterface) bool { return h.Index != 0 && !h.Up && !h.Carrier }},
	} {
		change("eth0", step.do)
		read <- struct{}{}
		await(step.what, func(all map[string]HostInterface) bool { return step.is(all["eth0"]) })
	}
	must(t, unix.SetsockoptInt(m.changes.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
	must(t, h.Do(func() error {
		for i := range 50 {
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("more", i)}}); err != nil {
				return err
			}
		}
		return nil
	}))
	change("eth1", netlink.LinkDel)
	read <- struct{}{}
	await("what was lost", func(all map[string]HostInterface) bool {
		_, there := all["eth1"]
		return all["more49"].Index != 0 && !there
	})
	read <- struct{}{}
	must(t, m.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	close(read)
}
