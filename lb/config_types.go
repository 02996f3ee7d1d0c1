package lb

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/golb/golb/forward"
)

// Config is what a balancer does: plain data, which marshals to YAML and JSON and back
// (package conf), and which Balancer.Config reads back. The zero value of each field is
// its default. The balancer copies a Config with its services and their servers, and never
// writes to it; what pointers, maps and other lists in it refer to must stay as it is.
type Config struct {
	// Interfaces are where packets of the VIPs arrive and leave, by name.
	// At least one.
	Interfaces []string `yaml:"interfaces"`
	// Workers is the number of receiving threads per interface; 0 means one for each
	// of CPUs, or one per processor, at most 8.
	Workers int `yaml:"workers"`
	// CPUs are the processors, by number, that the threads are pinned to: one after
	// the other in turn, first all of the first interface. None means not pinned.
	CPUs []int `yaml:"cpus"`
	// BusyPoll keeps the threads asking for packets where there are none, instead of
	// sleeping: no packet waits for one to wake up, and each takes all of a processor
	// that nobody else wants.
	BusyPoll bool `yaml:"busy_poll"`
	// MaxConnections caps the connection table, templates included. Its memory is
	// reserved at start, at most 128 bytes each. 0 means 1,048,576.
	MaxConnections int `yaml:"max_connections"`
	// Settings are those of ip_vs's sysctls, by their names, and golb's own.
	Settings Settings `yaml:"settings"`
	// Alerts say whom to tell of what happens to services that have none of their own.
	Alerts Alerts `yaml:"alerts"`
	// Groups are VIPs that are claimed and given up together, see Balancer.SetRole. A service
	// that names none is of the group DefaultGroup.
	Groups []Group `yaml:"groups"`
	// Services are matched by protocol, VIP and port; no two take the same packets.
	Services []Service `yaml:"services"`
}

// DefaultGroup is the group of services that name none.
const DefaultGroup = "default"

// Group is the VIPs of services that name it.
type Group struct {
	Name string `yaml:"name"` // unlike any other
	// Standby has golb start without claiming the group's VIPs: it forwards packets that
	// reach it, and neither answers ARP and neighbor solicitations for the VIPs nor
	// announces them, until SetRole makes the group active.
	Standby bool `yaml:"standby"`
	// MAC is where the VIPs are said to be, as a virtual router's (RFC 9568 §7.3); the zero
	// MAC is the interface's own.
	MAC forward.MAC `yaml:"mac"`
}

// Service is a virtual service: a VIP, protocol and port that clients see, and the
// servers behind it. Match instead of these three groups any set of VIPs, protocols
// and ports into one service, as a firewall mark does for ip_vs: persistence then
// spans all of them.
//
// A service of port 21 takes FTP's data connections too. With NAT golb reads the
// control connections and replaces the addresses that servers name in them. With
// DSR and TUN, and where the control connection is encrypted, the service has to be
// persistent: then TCP to port 20 and to those from 1024 on of its VIP is the
// service's too, unless another service has the port.
type Service struct {
	Name      string     `yaml:"name"`      // for logs, lists, alerts and ServerRef, unlike any other; "" means "tcp 192.0.2.1:80", or "mark 1"
	Group     string     `yaml:"group"`     // of its VIPs; "" means DefaultGroup
	VIP       netip.Addr `yaml:"vip"`       // must not be an address of this host
	Protocol  Protocol   `yaml:"protocol"`  // TCP where not given
	Port      uint16     `yaml:"port"`      // 1 to 65535; 0, with persistence, all ports
	Match     []Match    `yaml:"match"`     // in place of VIP, Protocol and Port
	Mark      uint32     `yaml:"mark"`      // of Match: the number that lists show for it, as for a firewall mark (ipvsadm -f); 0 means one of golb's own
	Scheduler string     `yaml:"scheduler"` // a name that sched.New takes; "" means wlc
	// SchedulerFlags are "fallback" and "port", which sh and mh know (ipvsadm -b).
	SchedulerFlags []string    `yaml:"scheduler_flags"`
	Persistence    Persistence `yaml:"persistence"` // whether clients stick to servers
	// OnePacket, of UDP, schedules each packet anew and keeps no connection (ipvsadm
	// -o). Replies through NAT then stay as they are: it is refused with that, unless
	// the settings say IPVSCompat.
	OnePacket bool   `yaml:"one_packet"`
	Method    Method `yaml:"method"` // for servers that name none; DSR where not given
	Tunnel    Tunnel `yaml:"tunnel"` // for servers of method TUN that name none
	// Quiescent leaves a server that failed its check in the service, with weight 0:
	// its connections go on, and persistent clients stay with it where the settings
	// let them. Otherwise it is taken out, and its connections end.
	Quiescent bool `yaml:"quiescent"`
	// SlowStart is how long a server that failed and is back takes to its full
	// weight, so that it is not run over; 0 means at once.
	SlowStart time.Duration `yaml:"slow_start"`
	Passive   PassiveCheck  `yaml:"passive"` // what the servers' connections show of their health
	// CutFailed cuts the connections of a server that failed by a reset to the client,
	// and with NAT to the server, as when it is halted. Otherwise the client's next
	// segment is answered by the reset, if the setting expire_nodest_conn says so.
	CutFailed bool `yaml:"cut_failed"`
	// Quorum is the weight, summed over the servers that are up and active, below which
	// the service is down; 0 means 1. More than all servers have counts as what they
	// have. Hysteresis, less than Quorum, is how far the weight has to get below or
	// above it until the service goes down or up.
	Quorum     int `yaml:"quorum"`
	Hysteresis int `yaml:"hysteresis"`
	// WhenDown says what a service does that is down; DownFallback where not given.
	WhenDown DownPolicy `yaml:"when_down"`
	Fallback Fallback   `yaml:"fallback"` // for new connections that no server takes
	// MaxRate and MaxClientRate bound the new connections a second of the service,
	// and of each client: an IPv4 address, or an IPv6 /64. What is more is dropped; a
	// second's worth may come at once. 0 means no bound.
	MaxRate       int      `yaml:"max_conn_rate"`
	MaxClientRate int      `yaml:"max_client_conn_rate"`
	Timeouts      Timeouts `yaml:"timeouts"` // where they differ from those of the settings
	Check         Check    `yaml:"check"`    // how to tell that a server is alive
	Agent         Agent    `yaml:"agent"`    // how to ask a server how busy it is
	Alerts        Alerts   `yaml:"alerts"`   // where given, in place of the Config's; empty lists tell nobody
	Servers       []Server `yaml:"servers"`
}

// Timeouts are how long a connection lives without packets, by its state; those
// that are 0 are ip_vs's, in brackets. At most 31 days.
type Timeouts struct {
	Established time.Duration `yaml:"tcp"`           // [15 min]
	FinWait     time.Duration `yaml:"tcp_fin"`       // FIN_WAIT, where the client has closed [2 min]
	SynRecv     time.Duration `yaml:"tcp_syn"`       // half open [1 min]
	TimeWait    time.Duration `yaml:"tcp_time_wait"` // [2 min]
	Close       time.Duration `yaml:"tcp_close"`     // after a reset [10 s]
	UDP         time.Duration `yaml:"udp"`           // [5 min]
	SCTP        time.Duration `yaml:"sctp"`          // established [15 min]
}

// Persistence sends a client's connections to the server that its first one went
// to (ipvsadm -p). The zero value is none.
type Persistence struct {
	// Timeout is how long after its last new connection a client is remembered, in
	// whole seconds up to 31 days; 0 means no persistence.
	Timeout time.Duration `yaml:"timeout"`
	// Prefix is the length of the part of the client's address that counts, so that
	// neighbors are one client; 0 means all of it, 32 or 128, but with an engine none
	// of it, where ip_vs means all.
	Prefix int `yaml:"prefix"`
	// Engine says what else tells clients apart: "sip", for UDP, the Call-ID, so that
	// all packets of a call go to one server, whoever they come from (ipvsadm --pe). A
	// packet without one starts no connection. Where a client has many calls at one
	// port, as a proxy has, OnePacket tells them apart. "" means nothing else.
	Engine string `yaml:"engine"`
}

// Server is a real server of a service.
type Server struct {
	Name    string     `yaml:"name"`    // for logs, lists and alerts, unlike the service's others; "" means its address and port
	Address netip.Addr `yaml:"address"` // where its packets go
	Port    uint16     `yaml:"port"`    // 0 means the packet's own; with DSR it must be the service's
	Weight  *int       `yaml:"weight"`  // 0 to 65535, share of new connections; nil means 1, 0 none
	// State is what an operator wants of the server; "" means StateActive.
	State  ServerState `yaml:"state"`
	Method Method      `yaml:"method"` // 0 means the service's
	Tunnel Tunnel      `yaml:"tunnel"` // for method TUN; the zero value means the service's

	// UpperThreshold is the number of connections, of any state, at which a server
	// gets no new ones; 0 means none. Below LowerThreshold it gets them again; 0
	// means three quarters of the upper one (ipvsadm -x, -y).
	UpperThreshold int `yaml:"u_threshold"`
	LowerThreshold int `yaml:"l_threshold"`

	Check ServerCheck `yaml:"check"` // where it differs from the service's
	Agent Agent       `yaml:"agent"` // the zero value means the service's
}

// Tunnel says how packets to a server of method TUN are encapsulated. The zero
// value is IP in IP.
type Tunnel struct {
	Type     TunnelType `yaml:"type"`
	Port     uint16     `yaml:"port"`     // GUE: the server's UDP port, 1 to 65535
	Checksum bool       `yaml:"checksum"` // GUE and GRE: with a checksum over the inside
}

// Settings change how golb treats packets. Those of ip_vs have ip_vs's names and
// meaning, and where its default is known to hurt, another default: IPVSCompat
// brings back all of ip_vs's at once.
type Settings struct {
	IPVSCompat bool `yaml:"ipvs_compat"`

	// ExpireNodestConn ends the connections and templates of a server that is removed,
	// or failed, at once, instead of dropping their packets until they time out. nil
	// means true; ip_vs: false.
	ExpireNodestConn *bool `yaml:"expire_nodest_conn"`
	// ExpireQuiescentTemplate lets a persistent client go from a server of weight 0
	// with its next connection. nil means true; ip_vs: false.
	ExpireQuiescentTemplate *bool `yaml:"expire_quiescent_template"`
	// ConnReuseMode schedules a SYN on a connection that is over anew: 0 never, 1 in
	// TIME_WAIT and CLOSE, 3 in FIN_WAIT too where replies are not seen. nil means 3;
	// ip_vs: 1.
	ConnReuseMode *int `yaml:"conn_reuse_mode"`
	// SloppyTCP lets any TCP segment but RST open a connection, SloppySCTP any
	// packet but ABORT.
	SloppyTCP  bool `yaml:"sloppy_tcp"`
	SloppySCTP bool `yaml:"sloppy_sctp"`
	// PMTUDisc copies Don't Fragment to tunnel headers, and answers what is too long
	// for the tunnel. nil means true.
	PMTUDisc *bool `yaml:"pmtu_disc"`

	// Timeouts are how long connections live without packets (ipvsadm --set, and the
	// other states).
	Timeouts Timeouts `yaml:"timeouts"`

	// ClampMSS lowers the segment size that TCP offers through NAT and TUN to what
	// fits the path.
	ClampMSS bool `yaml:"clamp_mss"`
	// AnswerRate bounds what golb itself answers (ICMP errors, echo replies, RST), in
	// packets a second and worker. 0 means 1000.
	AnswerRate int `yaml:"answer_rate"`
	// ReplyByRoute sends replies to NAT's clients where the host's routes say,
	// instead of to the MAC that the client's packets come from.
	ReplyByRoute bool `yaml:"reply_by_route"`
	// ProbeTime is how long golb asks, by ARP and neighbor solicitation, whether another host
	// has a VIP before it claims the VIP (RFC 5227); 0 does not ask. nil means 400 ms; the
	// RFC wants 4 s. It stays until the next start.
	ProbeTime *time.Duration `yaml:"probe_time"`
	// Merge puts neighboring packets of a TCP or UDP flow into one super-packet on
	// their way out, where they were received one by one, as the kernel's GRO would:
	// sending one costs little more than sending a packet. The device or the kernel
	// takes it apart into the packets that came. nil means true.
	Merge *bool `yaml:"merge"`
}

// Check says how a server's health is found out. The zero value is a TCP connect
// to the server's own address and port.
type Check struct {
	// Type is that of a check which Env.Checks has: tcp, http, ping, …; none is always
	// up. "" means tcp for TCP services, else none.
	Type string `yaml:"type" also:"checktype"`
	// Params are the type's own parameters by name: path, expect, … `golb probe --list`
	// names those of each type. Values are texts, numbers, booleans or lists of them,
	// or a mapping where a list of "name: value" is meant.
	Params map[string]any `yaml:",inline"`

	Address  netip.Addr    `yaml:"address"`                                      // to ask in place of the server's
	Port     uint16        `yaml:"port" also:"checkport"`                        // 0 means the server's, or the service's lowest, or the type's own
	Interval time.Duration `yaml:"interval" also:"checkinterval"`                // from check to check; 0 means 5 s
	Fast     time.Duration `yaml:"fast_interval"`                                // where a result contradicts the state; 0 means Interval
	Timeout  time.Duration `yaml:"timeout" also:"checktimeout,negotiatetimeout"` // of one check; 0 means 3 s
	Fall     int           `yaml:"fall" also:"failurecount"`                     // failures in a row until down; 0 means 2
	Rise     int           `yaml:"rise"`                                         // successes in a row until up; 0 means 1

	// Through "vip" checks the true path besides: a SYN goes to the VIP on each server
	// by golb's own rewriting, as a client's would. That alone proves of DSR and TUN that
	// a server takes packets for the VIP. All that VIPs send to this host is then
	// looked at, which costs where it is the servers' gateway. "" means that it does not.
	Through string `yaml:"through"`
}

// ServerCheck is what a server's check has in place of its service's.
type ServerCheck struct {
	Params  map[string]any `yaml:",inline"` // of the check's type, as request and receive of ldirectord's real
	Address netip.Addr     `yaml:"address"`
	Port    uint16         `yaml:"port" also:"checkport"`
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

// UnmarshalText reads a name in a config; it fails with what is allowed.
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

// UnmarshalText reads a name in a config; it fails with what is allowed.
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

// UnmarshalText reads a name in a config; it fails with what is allowed.
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
