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

// Env is what a balancer takes from its host, and the hooks of the program that embeds it.
// The zero value of each field is the host's own: sockets, clock, routes. Tests and
// simulations put their own there.
type Env struct {
	// Logger gets the log. nil discards it.
	Logger *slog.Logger
	// OnEvent is called with each event, in order, from one goroutine at a time. It must
	// not block and must not call the balancer.
	OnEvent func(Event)
	// OnAlert gets the messages of the Config's Alerts, as a mail server would: events are
	// gathered, flapping is suppressed, and a message is sent again where OnAlert fails. It
	// must return soon after ctx ends.
	OnAlert func(ctx context.Context, m alert.Message) error
	// Dial makes the connections of health checks. nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen opens the packet sockets of health checks, as [health.ListenFunc] says.
	// nil means the host's.
	Listen func(network, address string) (net.PacketConn, error)
	// Checks are the types of health checks that a config may name. nil means those of
	// package health.
	Checks *health.Registry
	// Checker makes the check of a server, in place of the one that the config names. Where
	// it is nil or returns nil, the config's check stays. Interval, timeout, fall and rise
	// are the config's. Checker is called for each server of each config that is applied; it
	// must not change or keep s and r. Their names are "" where the config gives none.
	Checker func(s *Service, r *Server) health.Checker
	// Schedulers are schedulers, by name, that a config may name beside those of package
	// sched. Pick must be safe for concurrent use, and should not allocate.
	Schedulers map[string]func(sched.Options) (sched.Scheduler, error)
	// Admit reports whether a new connection may begin. Where it may not, its packet is
	// dropped with the reason NotAdmitted. Workers call Admit for each new connection,
	// several at a time: it must not block, not call the balancer, and not keep the flow.
	// nil admits all.
	Admit func(f *sched.Flow) bool
	// ClientKey returns the key of a client for persistence, in place of its address; the
	// service's Persistence.Prefix is applied to it. The rules of Admit hold for it.
	ClientKey func(f *sched.Flow) [16]byte
	// OnConnection is called at the begin and the end of one of SampleEvery connections,
	// chosen by a hash of addresses and ports. The rules of Admit hold for it.
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
	// OpenInterfaces begins to follow the host's interfaces. nil means the kernel's, or where
	// OpenPorts is given, that interfaces stay as their ports say.
	OpenInterfaces func() (InterfaceMonitor, error)
	// Route returns the route to an address, or why there is none, which the servers at that
	// address are down with; see also ErrOwnHost. nil means the host's routes.
	Route func(dst netip.Addr) (Route, error)
	// RoutesChanged tells, where Route is given, that its answers may have changed: all are
	// asked for again after each receive. nil means that they never do.
	RoutesChanged <-chan struct{}
}

// schedulerNames returns the schedulers that a config may name.
func (e Env) schedulerNames() []string {
	names := sched.Names()
	for name := range e.Schedulers {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hooks returns the hooks of the data plane.
func (e Env) hooks() dataplane.Hooks {
	h := dataplane.Hooks{Admit: e.Admit, SampleEvery: e.SampleEvery}
	if e.ClientKey != nil {
		h.ClientKey = func(f *sched.Flow) forward.Addr { return e.ClientKey(f) }
	}
	if e.OnConnection != nil {
		h.OnConnection = func(kind dataplane.ConnEventKind, c *dataplane.Entry) {
			e.OnConnection(ConnectionEvent{Removed: kind == dataplane.ConnEnded, Connection: connectionOf(c)})
		}
	}
	return h
}

// PortConfig describes the ports of one interface that OpenPorts is to open.
type PortConfig struct {
	Interface string // its name in the config
	Index     int    // its index, which decides; 0: the name does
	// Count is the number of ports; they share the interface's frames by flow.
	Count int
	// SendOnly is true for the ports of workers that receive from other interfaces.
	SendOnly bool
	// BusyPoll has Recv poll for frames in place of sleeping.
	BusyPoll bool
	// MACs are virtual MACs: addresses beside the interface's own whose frames the ports
	// receive.
	MACs []forward.MAC
}

// Port is one queue of one interface: frames in, frames out. Recv and Send are
// called by one worker; the other methods by anyone at any time.
// *afpacket.Port is one.
type Port interface {
	// Recv fills frames with received frames and returns their number, waiting for the
	// first. They are for the interface's own MAC, one of PortConfig.MACs, or a group, and
	// for no other host. It returns 0 and no error after Wake, and net.ErrClosed after Close.
	// The port owns the frames; they are valid until the next call, also after Close.
	Recv(frames []forward.Frame) (int, error)
	// Send sends frames, of any port, and returns how many it took. It keeps none of
	// them.
	Send(frames []forward.Frame) (int, error)
	// Wake makes a Recv return.
	Wake()
	// SetFilter replaces the filter that chooses frames, or fails and leaves it. exact is
	// false where the port cannot filter that finely, and receives more.
	SetFilter(f forward.Filter) (exact bool, err error)
	// MAC is the interface's own address.
	MAC() forward.MAC
	// MTU is the longest IP packet in bytes that the interface passes.
	MTU() int
	// Stats returns the port's counters since it was opened, also after Close.
	Stats() forward.PortStats
	// Close ends the port; a Recv that waits returns.
	Close() error
}

// GSOPort is a Port that can send super-packets which golb has merged from packets
// received one by one. golb merges packets only for such a port.
type GSOPort interface {
	Port
	// GSO reports which protocols' super-packets the port takes.
	GSO() (tcp, udp bool)
}

// LinkConfig describes the link that OpenLink is to open.
type LinkConfig struct {
	Interface string // its name in the config
	Index     int    // its index, which decides; 0: the name does
	Logger    *slog.Logger
	// ProbeTime is how long Probe takes; 0 means the link's default. Where it is negative,
	// Probe returns at once, without asking.
	ProbeTime time.Duration
	// OnConflict is called when another host begins or ends to claim a VIP.
	OnConflict func(Conflict)
	// OnNeighborConflict is called when another host claims the address of a next hop that
	// still answers at its MAC, and so stays there.
	OnNeighborConflict func(NeighborConflict)
}

// NeighborConflict is a claim of another host to the address of a next hop.
type NeighborConflict = arp.NeighborConflict

// LinkVIP is an address that a link answers for, the MAC that it is at (the zero MAC is the
// interface's own), and how it is announced.
type LinkVIP = arp.VIP

// Conflict is a claim of another host to a VIP. ConflictError is the error of Link.Probe
// where another host has an address.
type (
	Conflict      = arp.Conflict
	ConflictError = arp.ConflictError
)

// LinkStats are a link's counters since it was opened.
type LinkStats = arp.Stats

// ErrNoIPv6 is what Link.SetVIPs wraps where a VIP is of IPv6, and the interface has none.
// It fails only where no interface has.
var ErrNoIPv6 = arp.ErrNoIPv6

// ErrLinkDown is what Link.Probe wraps where nobody could be asked, since the link is down.
var ErrLinkDown = arp.ErrLinkDown

// Link is ARP and ND on one interface: it resolves addresses, and answers and announces
// golb's own. *arp.Link is one. Its methods may be called at any time between opening
// and Close, also before Run.
type Link interface {
	// Run serves the link until ctx ends, then closes it.
	Run(ctx context.Context) error
	// SetVIPs replaces the addresses that the link answers for, each given once. Where it
	// fails nothing has changed; it wraps ErrNoIPv6 where that is the reason.
	SetVIPs(vips []LinkVIP) error
	// Probe fails where another host answers for one of the addresses; the error joins a
	// *ConflictError for each. It returns soon after ctx ends, as Announce does.
	Probe(ctx context.Context, vips ...netip.Addr) error
	// Announce announces the addresses to all hosts (gratuitous ARP, unsolicited neighbor
	// advertisements), when and how often LinkVIP.Announce says.
	Announce(ctx context.Context, vips ...netip.Addr) error
	// Resolve calls changed with the MAC of addr once it is known, whenever it
	// changes, and with ok false when the host no longer answers, until stop is called.
	Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func())
	// Stats returns the link's counters. It does not wait for the network.
	Stats() LinkStats
	// Close ends a link, also if Run was never called.
	Close() error
}

// Route is how the host reaches an address.
type Route struct {
	Interface string
	Index     int        // the kernel's of the interface, which outlives its name; 0: Interface names it
	Gateway   netip.Addr // the zero Addr where the address is on the link; of either family
	Source    netip.Addr // the host's address that packets to it come from
	MTU       int        // in bytes; 0 means the interface's
	// Others are the other next hops of a route that has several. The first that answers is
	// used, this one before them.
	Others []RouteHop
}

// RouteHop is a next hop of a route, as in Route.
type RouteHop struct {
	Interface string // may be "" where Index is given
	Index     int
	Gateway   netip.Addr
}

// mtu returns the route's MTU where it has one, or else the interface's.
func (r Route) mtu(iface int) int {
	if r.MTU != 0 {
		return min(r.MTU, iface)
	}
	return iface
}

// EventKind is the kind of an Event.
type EventKind string

// The kinds of events.
const (
	// EventReady: packets are being forwarded, and each service knows its servers, or has
	// waited for their first results for as long as a check may take.
	EventReady         EventKind = "ready"
	EventServerJoined  EventKind = "server_joined"  // a new server passed its first check
	EventServerUp      EventKind = "server_up"      // a server passed its check
	EventServerDown    EventKind = "server_down"    // a server failed its check
	EventServerSuspect EventKind = "server_suspect" // many connections in a row failed
	EventServiceUp     EventKind = "service_up"     // a service has its quorum again
	EventServiceDown   EventKind = "service_down"   // a service lost its quorum
	EventDrained       EventKind = "drained"        // the last connection of a draining server ended
	EventVIPConflict   EventKind = "vip_conflict"   // another host claims a VIP
	EventConflictEnded EventKind = "conflict_ended" // it does so no longer
	EventNeighbor      EventKind = "neighbor"       // a next hop's MAC became known, changed or was lost
	EventTableFull     EventKind = "table_full"     // new connections find the connection table full
	EventTableRoom     EventKind = "table_room"     // and room again, for 10 s
	EventInterfaceUp   EventKind = "interface_up"   // an interface of the config can be used
	EventInterfaceDown EventKind = "interface_down" // it cannot: Reason begins with its InterfaceState
	EventInterface     EventKind = "interface"      // its index, name, MAC or MTU changed
	EventRole          EventKind = "role"           // a group of VIPs became active or standby

	// EventNeighborConflict: another host claims a next hop's address; it stays where it answers.
	EventNeighborConflict EventKind = "neighbor_conflict"

	EventLocalTrouble      EventKind = "local_trouble"       // this host cannot make checks
	EventLocalTroubleEnded EventKind = "local_trouble_ended" // it can again
)

// Event is a change that may matter to an operator.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Service string     // its name; "" where the event is not about one service
	Server  string     // its name; "" where the event is not about one server
	Group   string     // its name, for EventRole
	VIP     netip.Addr // for EventVIPConflict and EventConflictEnded
	// Interface is the name in the config, for the events of interfaces.
	Interface string
	Reason    string // a text for people
	Action    string // what golb did about it, a text for people; "" where it did nothing
	// Since is when the change began, and Time when golb noticed it. For EventServerDown,
	// and an EventServiceDown that follows from one, it is the start of the first check that
	// failed. It may be zero.
	Since time.Time
	// Up of Servers servers of the service are up, after an event about a service or one of
	// its servers.
	Up, Servers int
}
