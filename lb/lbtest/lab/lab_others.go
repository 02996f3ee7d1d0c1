//go:build !linux

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
)

// Lab is a set of hosts and switches; Linux only.
type Lab struct{}

// Host is a machine of the lab; Linux only.
type Host struct{}

// Switch is a switch of the lab; Linux only.
type Switch struct{}

// Link is a cable between a host and a switch; Linux only.
type Link struct{}

// Main runs the tests of m and exits with their code; those that need a lab skip by [Unavailable].
func Main(m interface{ Run() int }) { os.Exit(m.Run()) }

// Reexec always returns an error here.
func Reexec() (done bool, code int, err error) { return false, 0, Unavailable() }

// Unavailable says that labs are made of Linux network namespaces.
func Unavailable() error { return errors.New("lab: needs Linux network namespaces") }

// New always returns an error here.
func New() (*Lab, error) { return nil, Unavailable() }

// Close does nothing here.
func (*Lab) Close() error { return nil }

// Host always returns an error here.
func (*Lab) Host(string) (*Host, error) { return nil, Unavailable() }

// Switch always returns an error here.
func (*Lab) Switch(string) (*Switch, error) { return nil, Unavailable() }

// Attach always returns an error here.
func (*Lab) Attach(*Host, *Switch, LinkConfig) (*Link, error) { return nil, Unavailable() }

// Connect always returns an error here.
func (*Lab) Connect(*Host, LinkConfig, *Host, LinkConfig) error { return Unavailable() }

// SetUp always returns an error here.
func (*Link) SetUp(bool) error { return Unavailable() }

// Name is empty here.
func (*Host) Name() string { return "" }

// NS is empty here.
func (*Host) NS() string { return "" }

// Do always returns an error here.
func (*Host) Do(func() error) error { return Unavailable() }

// AddAddr always returns an error here.
func (*Host) AddAddr(string, netip.Prefix) error { return Unavailable() }

// DelAddr always returns an error here.
func (*Host) DelAddr(string, netip.Prefix) error { return Unavailable() }

// AddRoute always returns an error here.
func (*Host) AddRoute(netip.Prefix, netip.Addr, string) error { return Unavailable() }

// DefaultRoute always returns an error here.
func (*Host) DefaultRoute(netip.Addr) error { return Unavailable() }

// Sysctl always returns an error here.
func (*Host) Sysctl(string, string) error { return Unavailable() }

// SetFeatures always returns an error here.
func (*Host) SetFeatures(string, bool, ...string) error { return Unavailable() }

// SolveARPProblem always returns an error here.
func (*Host) SolveARPProblem(...netip.Addr) error { return Unavailable() }

// Start always returns an error here.
func (*Host) Start(*exec.Cmd) error { return Unavailable() }

// Listen always returns an error here.
func (*Host) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, Unavailable()
}

// ListenPacket always returns an error here.
func (*Host) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, Unavailable()
}

// DialContext always returns an error here.
func (*Host) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, Unavailable()
}

// Control always returns an error here.
func (*Host) Control(string, string, syscall.RawConn) error { return Unavailable() }

// Decapsulator takes packets out of their tunnels; Linux only.
type Decapsulator struct{}

// Decapsulate always returns an error here.
func (*Host) Decapsulate(DecapConfig) (*Decapsulator, error) { return nil, Unavailable() }

// Stop does nothing here.
func (*Decapsulator) Stop() error { return nil }

// Stats always returns an error here.
func (*Decapsulator) Stats() (DecapStats, error) { return DecapStats{}, Unavailable() }
