package lb

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/health/alert"
	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/sched"
)

// Env is what a balancer needs of the world around it, and what a program adds to it.
// Each zero field stands for the real thing, so that the zero Env is the real world;
// tests and simulations put their own there.
type Env struct {
	// Logger gets what an operator wants to read. nil discards it.
	Logger *slog.Logger
	// OnEvent is told what happens, in order, from one goroutine at a time. It must
	// not block and must not call the balancer.
	OnEvent func(Event)
	// OnAlert is sent the messages of the Config's Alerts, as mail is: gathered, without
	// flapping, tried again where it fails. It returns soon after ctx ends.
	OnAlert func(ctx context.Context, m alert.Message) error
	// Dial makes the connections of health checks. nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen opens the packet sockets of health checks, as [health.ListenFunc] says.
	// nil means the host's.
	Listen func(network, address string) (net.PacketConn, error)
	// Checks are the types of health checks that a config may name. nil means those of
	// package health.
	Checks *health.Registry
	// Checker makes the check of a server in place of the one that its config names; nil,
	// or nil for a server, leaves that. The check's times are the config's. It is called
	// for each server of each config that is applied, and neither changes nor keeps what
	// it is given; s.Name is as the config has it, "" included.
	Checker func(s *Service, r *Server) health.Checker
	// Schedulers are what a config may name beside those of package sched, by name. Their
	// picks have to allocate nothing and to be safe for concurrent use.
	Schedulers map[string]func(sched.Options) (sched.Scheduler, error)
	// Admit reports whether a new connection may begin; one that may not is dropped, with
	// the reason NotAdmitted. Workers call it for each, several at a time: it must not
	// block, not call the balancer, and not keep the flow. nil admits all.
	Admit func(f *sched.Flow) bool
	// ClientKey is what stands for a client in persistence, in place of its address; the
	// service's Persistence.Prefix is applied to it. It is called as Admit is.
	ClientKey func(f *sched.Flow) [16]byte
	// OnConnection is told of the begin and the end of one of SampleEvery connections,
	// chosen by a hash of addresses and ports. It is called as Admit is.
	OnConnection func(e ConnectionEvent)
	SampleEvery  uint32 // 0 and 1 mean all
	// Now is the data path's clock, read once per batch. nil means time.Now.
	Now func() time.Time
	// Rand gives random bits for hash seeds and schedulers. nil means math/rand/v2.
	// It is called from several goroutines at once.
	Rand func() uint64
	// OpenPorts opens the ports of one interface. nil means AF_PACKET.
	OpenPorts func(PortConfig) ([]Port, error)
	// OpenLink opens ARP and ND on an interface. nil means package arp.
	OpenLink func(LinkConfig) (Link, error)
	// Route says how to reach an address. nil means the host's routes.
	Route func(dst netip.Addr) (Route, error)
}

// schedulerNames are all that a config may name.
func (e Env) schedulerNames() []string {
	names := sched.Names()
	for name := range e.Schedulers {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hooks are those of the data plane.
func (e Env) hooks() dataplane.Hooks {
	h := dataplane.Hooks{Admit: e.Admit, SampleEvery: e.SampleEvery}
	if e.ClientKey != nil {
		h.ClientKey = func(f *sched.Flow) forward.Addr { return e.ClientKey(f) }
	}
	if e.OnConnection != nil {
		h.OnConnection = func(kind dataplane.ConnEventKind, entry *dataplane.Entry) {
			e.OnConnection(ConnectionEvent{Ended: kind == dataplane.ConnEnded, Connection: connectionOf(entry)})
		}
	}
	return h
}

// PortConfig says which ports to open.
type PortConfig struct {
	Interface string
	// Count is how many ports share the interface's frames, by flow.
	Count int
	// SendOnly is for workers that receive from other interfaces.
	SendOnly bool
	// BusyPoll is for ports whose Recv is not to sleep.
	BusyPoll bool
	// MACs are virtual MACs: addresses beside the interface's own whose frames the ports
	// receive.
	MACs []forward.MAC
}

// Port is one queue of one interface: frames in, frames out. Recv and Send are
// called by one worker; the other methods by anyone at any time.
// *afpacket.Port is one.
type Port interface {
	// Recv fills frames with what has arrived, waiting for the first. It returns 0
	// and no error after Wake, and net.ErrClosed after Close. The frames are lent
	// until the next call.
	Recv(frames []forward.Frame) (int, error)
	// Send passes frames on, whatever port lent them, and returns how many were
	// taken. It keeps none of them.
	Send(frames []forward.Frame) (int, error)
	// Wake makes a Recv return.
	Wake()
	// SetFilter replaces the filter that chooses frames, or fails and leaves it. exact is
	// false where the port cannot filter so finely, and lets in more.
	SetFilter(f forward.Filter) (exact bool, err error)
	// MAC is the interface's own address.
	MAC() forward.MAC
	// MTU is the longest IP packet in bytes that the interface passes.
	MTU() int
	// Stats counts what the port did since it was opened, also after Close.
	Stats() forward.PortStats
	// Close ends the port; a Recv that waits returns.
	Close() error
}

// GSOPort is a Port that takes super-packets nobody has received: golb merges packets
// only on their way to one.
type GSOPort interface {
	Port
	// GSO reports which protocols' super-packets the port takes.
	GSO() (tcp, udp bool)
}

// LinkConfig says which link to open.
type LinkConfig struct {
	Interface string
	Logger    *slog.Logger
	// ProbeTime is how long Probe takes; 0 means the link's default, less than 0 that
	// Probe does not ask.
	ProbeTime time.Duration
	// OnConflict is called where another host claims a VIP, in words.
	OnConflict func(vip netip.Addr, reason string)
}

// LinkVIP is an address that a link answers for, and the MAC that it is at; the zero MAC
// is the interface's own.
type LinkVIP = arp.VIP

// LinkStats counts what a link did since it was opened.
type LinkStats = arp.Stats

// Link is ARP and ND on one interface: who has which address, and telling others
// which addresses golb has. *arp.Link is one. Its methods may be called at any
// time between opening and Close, also before Run.
type Link interface {
	// Run serves the link until ctx ends, then closes it.
	Run(ctx context.Context) error
	// SetVIPs replaces the addresses that the link answers for. Where it fails nothing
	// has changed.
	SetVIPs(vips []LinkVIP) error
	// Probe fails where another host answers for one of the addresses, and says who.
	Probe(ctx context.Context, vips ...netip.Addr) error
	// Announce tells all hosts, some times over, that the addresses are here now.
	Announce(ctx context.Context, vips ...netip.Addr) error
	// Resolve calls changed with the MAC of addr once it is known, whenever it
	// changes, and with ok false when the host no longer answers, until stop is called.
	Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func())
	// Stats counts what the link did, at once.
	Stats() LinkStats
	// Close ends a link, also one that never ran.
	Close() error
}

// Route is how the host reaches an address.
type Route struct {
	Interface string
	Gateway   netip.Addr // the zero Addr where the address is on the link
	Source    netip.Addr // the host's own address towards it
	MTU       int        // in bytes; 0 means the interface's
}

// mtu is that of the route, where it has one of its own, or of the interface.
func (r Route) mtu(iface int) int {
	if r.MTU != 0 {
		return min(r.MTU, iface)
	}
	return iface
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventReady         EventKind = "ready"          // packets are being forwarded
	EventServerUp      EventKind = "server_up"      // a server passed its check
	EventServerDown    EventKind = "server_down"    // a server failed its check
	EventServerSuspect EventKind = "server_suspect" // many connections in a row failed
	EventServiceUp     EventKind = "service_up"     // a service has its quorum again
	EventServiceDown   EventKind = "service_down"   // a service lost its quorum
	EventDrained       EventKind = "drained"        // the last connection of a draining server ended
	EventVIPConflict   EventKind = "vip_conflict"   // another host claims a VIP
	EventNeighbor      EventKind = "neighbor"       // a next hop's MAC became known, changed or was lost
	EventRole          EventKind = "role"           // a group of VIPs became active or standby
)

// Event is something that an operator may want to know of.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Service string // "" where it concerns no single service
	Server  string // "" where it concerns no single server
	Group   string // of EventRole
	Reason  string // in words
	Action  string // what golb did about it, in words; "" where nothing
	// Since is when it began, where Time is when it was known: for EventServerDown, and for
	// EventServiceDown that follows from it, the start of the first check that failed. It
	// may be zero.
	Since time.Time
}
