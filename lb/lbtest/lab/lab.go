// Package lab builds small networks inside the running process: hosts are Linux network namespaces, cables are veth pairs
// and a switch is a bridge. Each host has a kernel stack of its own, so what is tested against it is tested against Linux.
//
//	l, err := lab.New()
//	defer l.Close()
//	sw, err := l.Switch("sw")
//	h, err := l.Host("client")
//	_, err = l.Attach(h, sw, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}})
//	conn, err := h.DialContext(ctx, "tcp", "192.0.2.2:80")
//
// Namespaces have no name and no mount: file descriptors of the process hold them, so they and every interface in them
// are gone when the process is, whatever ended it. Nothing is visible outside and no external command is run.
//
// Making a namespace needs CAP_SYS_ADMIN. An ordinary user gets it in a user namespace: call [Main] from TestMain, or
// [Reexec] first thing in a program. Labs work on Linux only; elsewhere every constructor returns an error.
package lab

import (
	"net"
	"net/netip"
)

// LinkConfig describes one end of a cable. Its zero value is an interface eth0 with the kernel's MTU and no address.
type LinkConfig struct {
	// Name of the interface in the host, at most 15 bytes; eth0 where empty.
	Name string
	// Addrs are added to the interface and usable at once (no duplicate address detection).
	Addrs []netip.Prefix
	// MTU in bytes, for both ends of a cable to a switch; 0 leaves the kernel's 1500.
	MTU int
	// MAC of the interface; where nil the lab numbers them 02:00:00:00:00:01 and on, in order of creation.
	MAC net.HardwareAddr
	// GSOMaxSize is the length in bytes of the longest super-packet of both ends, above 64 KiB that of BIG TCP; 0 leaves the
	// kernel's 64 KiB.
	GSOMaxSize int
	// Queues is the number of transmit and receive queues; 0 leaves the kernel's default, one in use.
	Queues int
}

func (c LinkConfig) name() string {
	if c.Name == "" {
		return "eth0"
	}
	return c.Name
}
