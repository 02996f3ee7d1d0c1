package lb

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Config is all that a balancer is told. The zero value of each field is its
// default. A Config is a plain value: the balancer copies what it needs and never
// writes to it.
type Config struct {
	// Interfaces are where packets of the VIPs arrive and leave, by name.
	// At least one.
	Interfaces []string `yaml:"interfaces"`
	// Workers is the number of receiving threads per interface; 0 means one per
	// processor, at most 8.
	Workers int `yaml:"workers"`
	// MaxConnections caps the connection table, templates included. Its memory is
	// reserved at start, at most 128 bytes each. 0 means 1,048,576.
	MaxConnections int `yaml:"max_connections"`
	// Services are matched by protocol, VIP and port; no two alike.
	Services []Service `yaml:"services"`

	// Env replaces parts of the world: logger, clock, ports. The zero value is the
	// real world.
	Env Env `yaml:"-"`
}

// Service is a virtual service: a VIP, protocol and port that clients see, and the
// servers behind it.
type Service struct {
	Name      string     `yaml:"name"`      // for logs and lists; "" means "tcp 192.0.2.1:80"
	VIP       netip.Addr `yaml:"vip"`       // must not be an address of this host
	Protocol  Protocol   `yaml:"protocol"`  // TCP where not given
	Port      uint16     `yaml:"port"`      // 1 to 65535
	Scheduler string     `yaml:"scheduler"` // a name that sched.New takes; "" means wlc
	Method    Method     `yaml:"method"`    // for servers that name none; DSR where not given
	Check     Check      `yaml:"check"`     // how to tell that a server is alive
	Servers   []Server   `yaml:"servers"`
}

// Server is a real server of a service.
type Server struct {
	Name    string     `yaml:"name"`    // for logs and lists; "" means its address and port
	Address netip.Addr `yaml:"address"` // where its packets go
	Port    uint16     `yaml:"port"`    // 0 means the service's; with DSR it must be the service's
	Weight  *int       `yaml:"weight"`  // 0 to 65535, share of new connections; nil means 1, 0 none
	Method  Method     `yaml:"method"`  // 0 means the service's
}

// Check says how a server's health is found out. The zero value is a TCP connect
// to the server's own address and port.
type Check struct {
	Type     string        `yaml:"type"`     // "tcp" (connect) or "none" (always up); "" means tcp for TCP services, else none
	Port     uint16        `yaml:"port"`     // 0 means the server's
	Interval time.Duration `yaml:"interval"` // from check to check; 0 means 5 s
	Timeout  time.Duration `yaml:"timeout"`  // of one check; 0 means 3 s
	Fall     int           `yaml:"fall"`     // failures in a row until down; 0 means 2
	Rise     int           `yaml:"rise"`     // successes in a row until up; 0 means 1
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
	return parseName(methodNames, m, b, "dsr, nat or tun")
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
