package lb

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/golb/golb/forward"
)

// Config configures a balancer. It is plain data, which marshals to YAML and JSON and back
// (package conf); Balancer.Config returns that of a running balancer. The zero value of each
// field stands for its default. The balancer copies a Config and never writes to it.
type Config struct {
	// Interfaces are the names of the interfaces that packets of the VIPs arrive at and leave
	// by; at least one. Each is waited for where the host does not have it, and followed when
	// it is renamed; a later config may name it either way.
	Interfaces []string `yaml:"interfaces"`
	// Workers is the number of receiving threads per interface; 0 means one for each
	// of CPUs, or one per processor, at most 8.
	Workers int `yaml:"workers"`
	// CPUs are the numbers of the processors that the threads are pinned to, in turn,
	// beginning with those of the first interface. None means that threads are not pinned.
	CPUs []int `yaml:"cpus"`
	// BusyPoll has the threads poll for packets in place of sleeping: no packet waits for a
	// thread to wake up, but each thread takes all the processor time that is left.
	BusyPoll bool `yaml:"busy_poll"`
	// MaxConnections caps the connection table, templates included. Its memory is
	// reserved at start, at most 128 bytes each. 0 means 1,048,576, or what fits the memory
	// limit of the process (cgroup, RLIMIT_AS, the machine's memory). A given value has to
	// fit: see ValidateHost.
	MaxConnections int `yaml:"max_connections"`
	// Settings are ip_vs's sysctls, by their names, and golb's own settings.
	Settings Settings `yaml:"settings"`
	// Alerts are sent about VIPs, and about services that have no alerts of their own.
	Alerts Alerts `yaml:"alerts"`
	// Announce is when VIPs are announced.
	Announce Announce `yaml:"announce"`
	// Groups are groups of VIPs that are claimed and given up together, see
	// Balancer.SetRole. The VIPs of a service that names none are in DefaultGroup.
	Groups []Group `yaml:"groups"`
	// Services are matched by protocol, VIP and port; no two take the same packets.
	Services []Service `yaml:"services"`
}

// DefaultGroup is the group of services that name none.
const DefaultGroup = "default"

// Group is a group of VIPs: those of the services that name it.
type Group struct {
	Name string `yaml:"name"` // unique
	// Standby has golb start without claiming the group's VIPs: it forwards packets that
	// reach it, and neither answers ARP and neighbor solicitations for the VIPs nor
	// announces them, until SetRole makes the group active.
	Standby bool `yaml:"standby"`
	// MAC is the MAC that golb answers and announces for the VIPs, as a virtual router does
	// (RFC 9568 §7.3). The zero MAC means the interface's own.
	MAC forward.MAC `yaml:"mac"`
	// Interfaces are those of the Config's on which the VIPs are claimed; none means all. Packets
	// that reach golb are forwarded whatever interface they come by.
	Interfaces []string `yaml:"interfaces"`
	// AddressConflict is what becomes of a VIP that another host has.
	AddressConflict ConflictPolicy `yaml:"address_conflict"`
}

// Service is a virtual service: a VIP, protocol and port, and the servers behind it. Match,
// in place of these three, makes any set of VIPs, protocols and ports one service, as a
// firewall mark does for ip_vs: persistence then spans all of them.
//
// A service of port 21 takes FTP's data connections too. With NAT golb reads the
// control connections and replaces the addresses that servers name in them. With
// DSR and TUN, and where the control connection is encrypted, the service has to be
// persistent: then TCP to port 20 and to those from 1024 on of its VIP is the
// service's too, unless another service has the port.
type Service struct {
	Name      string     `yaml:"name"`      // unique; for logs, lists, alerts and ServerRef; "" means "tcp 192.0.2.1:80", or "mark 1"
	Group     string     `yaml:"group"`     // of its VIPs; "" means DefaultGroup
	VIP       netip.Addr `yaml:"vip"`       // must not be an address of this host
	Protocol  Protocol   `yaml:"protocol"`  // TCP where not given
	Port      uint16     `yaml:"port"`      // 1 to 65535; 0, with persistence, all ports
	Match     []Match    `yaml:"match"`     // in place of VIP, Protocol and Port
	Mark      uint32     `yaml:"mark"`      // with Match: its number in lists, as a firewall mark's (ipvsadm -f); 0 means that golb chooses one
	Scheduler string     `yaml:"scheduler"` // a name that sched.New takes; "" means wlc
	// SchedulerFlags are the flags of sh and mh: "fallback", "port" (ipvsadm -b).
	SchedulerFlags []string    `yaml:"scheduler_flags"`
	Persistence    Persistence `yaml:"persistence"` // whether clients stick to servers
	// OnePacket, for UDP, schedules each packet anew and keeps no connection (ipvsadm
	// -o). With NAT it is for packets that have no replies, as those of syslog: replies
	// leave untranslated, as with ip_vs.
	OnePacket bool   `yaml:"one_packet"`
	Method    Method `yaml:"method"` // for servers that name none; DSR where not given
	Tunnel    Tunnel `yaml:"tunnel"` // for servers of method TUN that name none
	// Quiescent leaves a failed server in the service with weight 0: its connections go
	// on, and persistent clients stay with it, also when all servers have failed, unless
	// Settings.ExpireQuiescentTemplate is true. Otherwise it is taken out, and its
	// connections end.
	Quiescent bool `yaml:"quiescent"`
	// SlowStart is the time in which the weight of a server that is back grows to its full
	// value; 0 means at once.
	SlowStart    time.Duration `yaml:"slow_start"`
	PassiveCheck PassiveCheck  `yaml:"passive"` // fails servers whose connections fail
	// CutFailed resets the connections of a failed server at once: the client's end, and
	// with NAT the server's, as when it is halted. Otherwise the client's next segment is
	// answered by a reset, if the setting expire_nodest_conn is on.
	CutFailed bool `yaml:"cut_failed"`
	// Quorum is the least weight, summed over the servers that are up and active, with which
	// the service is up; 0 means 1. A quorum above the weight of all servers counts as that
	// weight. Hysteresis, less than Quorum, is how far the weight must fall below it for the
	// service to go down, and rise above it to come up (keepalived's hysteresis).
	Quorum     int `yaml:"quorum"`
	Hysteresis int `yaml:"hysteresis"`
	// WhenDown is what becomes of new connections while the service is down; DownFallback
	// where not given.
	WhenDown DownPolicy `yaml:"when_down"`
	Fallback Fallback   `yaml:"fallback"` // for new connections that no server takes
	// Allow and Deny say which clients may come, since the host's firewall does not see their
	// packets. Of all prefixes that have a client's address the longest decides, whatever
	// their order; where none has it, the client may come if Allow is empty. Packets of
	// new connections of others are dropped with the reason Denied, and connections of
	// clients that a reload shuts out end. 100,000 prefixes make a new connection slower by
	// a tenth of a microsecond.
	Allow []Prefix `yaml:"allow"`
	Deny  []Prefix `yaml:"deny"`
	// MaxRate and MaxClientRate limit the new connections per second of the service, and of
	// each client: an IPv4 address, or an IPv6 /64. The burst is one second's worth.
	// Packets beyond are dropped with the reason RateLimited. 0 means no limit.
	MaxRate       int      `yaml:"max_conn_rate"`
	MaxClientRate int      `yaml:"max_client_conn_rate"`
	Timeouts      Timeouts `yaml:"timeouts"` // those that are not 0 replace the settings'
	// Check is the health check of its servers. In a file it may be a list: the first is
	// Check, the others are MoreChecks. A server is up where all pass. MoreChecks that are
	// empty and not nil are a list of one.
	Check      Check    `yaml:"check"`
	MoreChecks []Check  `yaml:"check,more"`
	Agent      Agent    `yaml:"agent"`  // the feedback agent of its servers
	Alerts     Alerts   `yaml:"alerts"` // where given, in place of the Config's; empty lists send none
	Servers    []Server `yaml:"servers"`
}

// Timeouts are the times after which a connection without packets expires, by its state,
// at most 31 days. 0 means ip_vs's, in brackets.
type Timeouts struct {
	Established time.Duration `yaml:"tcp"`           // [15 min]
	FinWait     time.Duration `yaml:"tcp_fin"`       // FIN_WAIT, where the client has closed [2 min]
	SynRecv     time.Duration `yaml:"tcp_syn"`       // half open [1 min]
	TimeWait    time.Duration `yaml:"tcp_time_wait"` // [2 min]
	Close       time.Duration `yaml:"tcp_close"`     // after a reset [10 s]
	UDP         time.Duration `yaml:"udp"`           // [5 min]
	SCTP        time.Duration `yaml:"sctp"`          // established [15 min]
}

// Persistence sends all connections of a client to the server of its first one
// (ipvsadm -p). The zero value is no persistence.
type Persistence struct {
	// Timeout is how long after its last new connection a client is remembered, in
	// whole seconds up to 31 days. 0 means no persistence; with a Prefix or an Engine, and
	// for the persistence {} of a file, 5 min.
	Timeout time.Duration `yaml:"timeout" given:"5m"`
	// Prefix is the length of the prefix of the client's address that is compared: clients
	// of one prefix go to one server. 0 means the whole address, 32 or 128; but with an
	// engine it means that no part of the address counts, where ip_vs means all.
	Prefix int `yaml:"prefix"`
	// Engine adds to the client's key (ipvsadm --pe): "sip", for UDP, the Call-ID, so that
	// all packets of a call go to one server, wherever they come from. A packet without
	// Call-ID starts no connection. Where one client has many calls at one port, as a
	// proxy has, OnePacket is needed to tell them apart. "" adds nothing.
	Engine string `yaml:"engine"`
}

// Server is a real server of a service.
type Server struct {
	Name    string     `yaml:"name"`    // unique in the service; for logs, lists, alerts and ServerRef; "" means its address and port
	Address netip.Addr `yaml:"address"` // where its packets go
	Port    uint16     `yaml:"port"`    // 0 means the packet's own; with DSR it must be the service's
	Weight  *int       `yaml:"weight"`  // 0 to 65535, share of new connections; nil means 1, 0 none
	// State is the state that an operator sets; "" means StateActive.
	State  ServerState `yaml:"state"`
	Method Method      `yaml:"method"` // 0 means the service's
	Tunnel Tunnel      `yaml:"tunnel"` // for method TUN; the zero value means the service's

	// MAC is where the address is: golb does not ask for it by ARP or neighbor solicitation,
	// and no host can claim it. It holds for all servers of the address, unless a router is
	// between. The zero MAC means that golb asks. Checks use the host's own neighbor table
	// (ip neigh).
	MAC forward.MAC `yaml:"mac"`

	// UpperThreshold is the number of connections, in any state, at which a server gets no
	// new ones; 0 means no limit. It gets new ones again below LowerThreshold; 0 means
	// three quarters of the upper one (ipvsadm -x, -y).
	UpperThreshold int `yaml:"u_threshold"`
	LowerThreshold int `yaml:"l_threshold"`

	// Check and MoreChecks are the server's own checks, in place of all of the service's. Each
	// takes what it does not say from the service's first check of its type, and intervals,
	// timeouts, Fall and Rise from the service's first where it has none of the type. Where
	// the service has one check, Type "" means that one's: then Check says only in what it
	// differs. Through is the service's. The zero values mean the service's checks.
	Check      Check   `yaml:"check"`
	MoreChecks []Check `yaml:"check,more"`
	Agent      Agent   `yaml:"agent"` // the zero value means the service's
}

// Tunnel is the encapsulation of packets to a server of method TUN. The zero value is IP
// in IP.
type Tunnel struct {
	Type     TunnelType `yaml:"type"`
	Port     uint16     `yaml:"port"`     // GUE: the server's UDP port, 1 to 65535
	Checksum bool       `yaml:"checksum"` // GUE and GRE: with a checksum over the payload
}

// Settings are the settings of the data plane. Those of ip_vs have ip_vs's names and
// meaning. Where ip_vs's default is a known trap, golb's is another; IPVSCompat brings back
// all of ip_vs's.
type Settings struct {
	IPVSCompat bool `yaml:"ipvs_compat"`

	// ExpireNodestConn ends the connections and templates of a server that was removed or
	// failed at once, instead of dropping their packets until they expire. nil means true;
	// ip_vs: false.
	ExpireNodestConn *bool `yaml:"expire_nodest_conn"`
	// ExpireQuiescentTemplate moves a persistent client from a server of weight 0 to
	// another with its next connection. nil means true, but for failed servers of quiescent
	// services; ip_vs: false.
	ExpireQuiescentTemplate *bool `yaml:"expire_quiescent_template"`
	// ConnReuseMode says in which states of a connection a SYN is scheduled as a new one:
	// 0 in none, 1 in TIME_WAIT and CLOSE, 3 also in FIN_WAIT where golb does not see
	// replies. nil means 3; ip_vs: 1.
	ConnReuseMode *int `yaml:"conn_reuse_mode"`
	// SloppyTCP lets any TCP segment but RST start a connection, SloppySCTP any packet but
	// ABORT.
	SloppyTCP  bool `yaml:"sloppy_tcp"`
	SloppySCTP bool `yaml:"sloppy_sctp"`
	// PMTUDisc copies Don't Fragment to tunnel headers, and answers packets that are too
	// long for the tunnel (fragmentation needed, packet too big). nil means true.
	PMTUDisc *bool `yaml:"pmtu_disc"`

	// Timeouts are the timeouts of connections (ipvsadm --set, and those of other states).
	Timeouts Timeouts `yaml:"timeouts"`

	// ClampMSS lowers TCP's maximum segment size option, through NAT and TUN, to the MTU of
	// the path.
	ClampMSS bool `yaml:"clamp_mss"`
	// AnswerRate limits the packets that golb itself answers with, per second and worker,
	// each kind for itself: echo replies, "too big", time exceeded, unreachable, RST, the
	// SYN-ACKs of the fallback page, and the page, of which one client (an IPv4 address, or an
	// IPv6 /64) gets an eighth. 0 means 1000.
	AnswerRate int `yaml:"answer_rate"`
	// ReplyByRoute sends replies to NAT's clients by the host's routes. Without it they go to
	// the MAC that the client's packets come from, unless that is silent for a second although
	// packets go there, as a router that has died: then by the host's route, if there is one.
	ReplyByRoute bool `yaml:"reply_by_route"`
	// ProbeTime is for how long golb asks, by ARP and neighbor solicitation, whether another
	// host has a VIP, before it claims the VIP (RFC 5227). 0 means that it does not ask, nil
	// 400 ms; the RFC wants 4 s. A change takes effect at the next start.
	ProbeTime *time.Duration `yaml:"probe_time"`
	// Merge sends consecutive packets of a TCP or UDP flow, received one by one, as one
	// super-packet, as the kernel's GRO makes them: that costs little more than sending one
	// packet. The device or the kernel splits it into the same packets. nil means true.
	Merge *bool `yaml:"merge"`
}

// Check is a health check of servers. The zero value is a TCP connect to the server's own
// address and port.
type Check struct {
	// Type is the name of a type of Env.Checks: tcp, http, ping, …; with none servers are
	// always up. "" means tcp for TCP services, none for others.
	Type string `yaml:"type" also:"checktype"`
	// Params are the type's own parameters by name: path, expect, … `golb probe --list`
	// shows those of each type. Values are strings, numbers, booleans or lists of them;
	// a list of "name: value" may be a mapping.
	Params map[string]any `yaml:",inline"`

	Address  netip.Addr    `yaml:"address"`                         // to check, where it is not the server's
	Port     uint16        `yaml:"port" also:"checkport"`           // 0 means the server's, or the service's lowest, or the type's default
	Interval time.Duration `yaml:"interval" also:"checkinterval"`   // from check to check; 0 means 5 s
	Fast     time.Duration `yaml:"fast_interval"`                   // after a result that contradicts the state; 0 means Interval
	Timeout  time.Duration `yaml:"timeout" also:"negotiatetimeout"` // of one check; 0 means ConnectTimeout, or 3 s
	Fall     int           `yaml:"fall" also:"failurecount"`        // failures in a row until down; 0 means 2
	Rise     int           `yaml:"rise"`                            // successes in a row until up; 0 means 1

	// ConnectTimeout is the timeout of checks that do no more than connect, or ask whether the
	// host is there: those of types tcp, syn, ping and external, and the connects between full
	// checks (connects), which Timeout bounds too. 0 means Timeout.
	ConnectTimeout time.Duration `yaml:"connect_timeout" also:"checktimeout"`

	// Source and Interface are where the check's packets come from: an address of this host,
	// of the server's family, and the name of the interface by which they leave and answers
	// have to come (Linux). Where this host lacks one of them, the check is not tried, which
	// changes no state. The zero values leave it to the host's routes.
	Source    netip.Addr `yaml:"source" also:"bindto"`
	Interface string     `yaml:"interface" also:"bind_if"`

	// Unchecked is what a server counts as until its first check: "down", or "up", with
	// which it gets clients before anyone has seen it work. The first result counts by
	// itself, whatever Fall and Rise are. A reload keeps what is known of a server, also
	// where its check is another one. "" means down.
	Unchecked string `yaml:"unchecked"`

	// Through "vip" checks the true path too: a SYN to the VIP reaches each server by golb's
	// own rewriting, as a client's would. With DSR and TUN only this shows that a server
	// takes packets for the VIP. Workers then receive all packets that come from VIPs, which
	// costs processor time where this host is the servers' gateway. It has this check's times,
	// Fall and Rise; one of a service's checks may have it. "" means no such check.
	Through string `yaml:"through"`
}

// Protocol is a transport protocol by its IP protocol number.
type Protocol uint8

// The protocols of services.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

var protocolNames = map[Protocol]string{TCP: "tcp", UDP: "udp", SCTP: "sctp"}

// String returns the name in a config.
func (p Protocol) String() string { return nameOf(protocolNames, p, "protocol") }

// UnmarshalText reads a name in a config. Its error says what is allowed.
func (p *Protocol) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*p = 0
		return nil
	}
	return parseName(protocolNames, p, b, "tcp, udp or sctp")
}

// Method is how a packet reaches its server.
type Method uint8

// The methods, with ip_vs's names for them.
const (
	DSR Method = iota + 1 // destination MAC rewritten (DROUTE, -g)
	NAT                   // destination address and port rewritten (MASQ, -m)
	TUN                   // encapsulated, IP in IP (TUNNEL, -i)
)

var methodNames = map[Method]string{DSR: "dsr", NAT: "nat", TUN: "tun"}

// String returns the name in a config.
func (m Method) String() string { return nameOf(methodNames, m, "method") }

// UnmarshalText reads a name in a config. Its error says what is allowed.
func (m *Method) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = 0
		return nil
	}
	return parseName(methodNames, m, b, "dsr, nat or tun")
}

// TunnelType is the outer header of method TUN.
type TunnelType uint8

// The tunnel types. IPIP is IP in IP of any two versions (RFC 2003, 2473, 4213).
const (
	IPIP TunnelType = iota
	GUE             // Generic UDP Encapsulation, draft-ietf-intarea-gue
	GRE             // RFC 2784
)

var tunnelNames = map[TunnelType]string{IPIP: "ipip", GUE: "gue", GRE: "gre"}

// String returns the name in a config.
func (t TunnelType) String() string { return nameOf(tunnelNames, t, "tunnel") }

// UnmarshalText reads a name in a config. Its error says what is allowed.
func (t *TunnelType) UnmarshalText(b []byte) error {
	return parseName(tunnelNames, t, b, "ipip, gue or gre")
}

func nameOf[T ~uint8](names map[T]string, v T, kind string) string {
	if s, ok := names[v]; ok {
		return s
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(v))
}

func parseName[T ~uint8](names map[T]string, v *T, b []byte, allowed string) error {
	for k, s := range names {
		if strings.EqualFold(s, string(b)) {
			*v = k
			return nil
		}
	}
	return fmt.Errorf("allowed: %s", allowed)
}
