// Package ipvsadm reads the command lines of ipvsadm 1.31: its commands and options in
// all their spellings, which options are allowed together, its defaults and its error
// messages. It only parses a line, and runs nothing.
//
//	cmd, err := ipvsadm.Parse([]string{"-a", "-t", "192.0.2.1:80", "-r", "10.0.0.1", "-m", "-w3"})
//	// cmd.Op == ipvsadm.AddServer, cmd.Server.Port == 80, cmd.Server.Weight == 3
//
// Options are read in their order, as ipvsadm does, with what follows from it: a
// server's port is copied from a service that is already named, -M is read in the
// family of the service named before it, and naming an IPv6 service after -M undoes -M.
//
// Two things differ: in brackets only an IPv6 address is allowed, where ipvsadm accepts an
// IPv4 address or a name and forgets the port; and nothing may follow an IPv4 address, where
// ipvsadm ignores the text behind a blank.
package ipvsadm

import (
	"net/netip"
	"time"

	"github.com/golb/golb/lb"
)

// Op is the operation of a command.
type Op uint8

// The commands, by their options.
const (
	None          Op = iota // nothing, of a blank line
	AddService              // -A
	EditService             // -E: what is not given goes back to its default
	DeleteService           // -D
	Clear                   // -C
	AddServer               // -a
	EditServer              // -e: what is not given goes back to its default
	DeleteServer            // -d
	List                    // -L, -l, and no options at all
	Zero                    // -Z
	Save                    // -S
	Restore                 // -R
	SetTimeouts             // --set
	StartDaemon             // --start-daemon
	StopDaemon              // --stop-daemon
	Help                    // -h
	Version                 // -v
)

// Command is one command line.
type Command struct {
	Op         Op
	HasService bool    // List and Zero: Service alone, not all services
	Service    Service // of commands that name one
	Server     Server  // of commands that name one
	List       Listing
	Numeric    bool             // -n, of List and Save
	Timeouts   [3]time.Duration // SetTimeouts: TCP, TCP after FIN, UDP; 0 leaves one as it is
	Daemon     Daemon
}

// Service is a virtual service: protocol, address and port, or a firewall mark.
type Service struct {
	Protocol lb.Protocol // 0 with a mark
	Address  netip.Addr  // the zero Addr with a mark
	Port     uint16      // 0 is all ports
	Mark     uint32      // 0 where Address is given
	IPv6     bool        // the family, of marks too

	// What follows is of AddService and EditService.

	Scheduler   string
	Flags       Flags
	Persistence time.Duration // 0 is none
	// Mask has the bits of a client's address that count for persistence. With IPv4 it need
	// not be a prefix.
	Mask      netip.Addr
	OnePacket bool
	Engine    string // of persistence; "" is none
}

// Prefix returns the length of Mask as a prefix; ok is false where it is none.
func (s *Service) Prefix() (bits int, ok bool) {
	if !s.Mask.IsValid() {
		return 0, false
	}
	ended := false
	for _, b := range s.Mask.AsSlice() {
		for bit := byte(0x80); bit != 0; bit >>= 1 {
			switch set := b&bit != 0; {
			case set && ended:
				return 0, false
			case set:
				bits++
			default:
				ended = true
			}
		}
	}
	return bits, true
}

// Flags are a scheduler's settings (IP_VS_SVC_F_SCHED1 to 3).
type Flags uint8

// The flags. The first two have names of sh and mh.
const (
	Flag1 Flags = 1 << iota // sh-fallback, mh-fallback
	Flag2                   // sh-port, mh-port
	Flag3
)

// Names lists the flags as lb.Service.SchedulerFlags takes those of sh and mh.
func (f Flags) Names() []string {
	var names []string
	for i, name := range []string{"fallback", "port", "flag-3"} {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Server is a real server. DeleteServer has Address and Port only.
type Server struct {
	Address        netip.Addr
	Port           uint16 // the service's where none is given, and with DSR and TUN always
	Method         lb.Method
	Weight         int // 0 to 2^31-1
	UpperThreshold int // 0 is none
	LowerThreshold int // 0 is none
	Tunnel         Tunnel
}

// Tunnel is how a server of method TUN is reached.
type Tunnel struct {
	Type     lb.TunnelType
	Port     uint16 // GUE: the server's UDP port
	Checksum Checksum
}

// Checksum is the kind of checksum over the payload of a GUE or GRE tunnel.
type Checksum uint8

// The kinds of checksum (IP_VS_TUNNEL_ENCAP_FLAG_*).
const (
	NoChecksum     Checksum = iota // --tun-nocsum
	FullChecksum                   // --tun-csum
	RemoteChecksum                 // --tun-remcsum, GUE
)

// Listing are the options of List.
type Listing struct {
	Connections    bool // -c
	Timeouts       bool // --timeout
	Daemon         bool // --daemon
	Stats          bool
	Rate           bool
	Thresholds     bool
	PersistentConn bool
	TunnelInfo     bool
	Unsorted       bool // --nosort
	Exact          bool // -X
}

// Daemon is a synchronization daemon to start or to stop. A zero field means the kernel's
// default.
type Daemon struct {
	Backup    bool // else master
	Interface string
	SyncID    uint8
	MaxLength uint16 // of a message, in bytes
	Group     netip.Addr
	Port      uint16
	TTL       uint8
}

// Error is what ipvsadm prints and exits with when it cannot take a line.
type Error struct {
	Message string
	Exit    int
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
