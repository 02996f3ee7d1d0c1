package health

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Type is a kind of check that a config and a command line can name. It makes a
// [Checker] for a [Peer] from parameters.
//
// A type of your own is a Type with a Name and a Bind; give it to [NewRegistry].
type Type struct {
	Name      string
	Also      []string // other names, ldirectord's where it has one
	About     string   // what it does, in one line
	Transport string   // tcp, udp or icmp; "" where the check opens no connection itself and needs no port
	Port      uint16   // default port of the protocol; 0 where there is none and a peer must have one
	// PerService is true where the check depends on Peer.Service, so that two services
	// with the same server need a check each.
	PerService bool
	// Bind declares the type's keys, binds them to variables and returns the Checker
	// that uses these. The variables get their values after Bind has returned and before
	// the first Check; what depends on several of them goes into [Keys.Then]. Peer.Dial is
	// not nil for a check that [Registry.New] makes.
	Bind func(*Keys, Peer) Checker
}

// Peer is the server of a check, and how to reach it.
type Peer struct {
	Addr netip.AddrPort // port 0 stands for the Type's own
	Name string         // default for the Host header and SNI; may be ""
	// Service is the address and port of the virtual service, for types that are
	// PerService. The zero value is no service.
	Service netip.AddrPort
	// ConnectTimeout bounds the connects between full checks (connects); 0 is no bound but
	// the check's own.
	ConnectTimeout time.Duration
	Source         Source     // of the check's packets; the zero value where Dial or Listen is given
	Dial           DialFunc   // opens the check's connections; nil is the host's own
	Listen         ListenFunc // opens its packet sockets; nil is the host's own
}

// ListenFunc opens a packet socket as [net.ListenPacket] does. The network is udp4 or
// udp6 for an unprivileged ping socket, else that of a raw one: ip4:icmp,
// ip6:ipv6-icmp, ip4:tcp or ip6:tcp.
type ListenFunc func(network, address string) (net.PacketConn, error)

// Keys returns the type's parameters in the order of their declaration.
func (t Type) Keys() []Key {
	k, _, _ := t.bind(Peer{})
	keys := make([]Key, len(k.all))
	for i, key := range k.all {
		keys[i] = *key
	}
	return keys
}

// Merge returns a copy of params in which those of over take precedence, under
// whichever of a key's names each was given.
func (t Type) Merge(params, over map[string]any) map[string]any {
	k, _, _ := t.bind(Peer{})
	merged := maps.Clone(over)
	for name, value := range params {
		same := func(other string) bool { return other == name || k.find(name) != nil && k.find(name) == k.find(other) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(over)), same) {
			if merged == nil {
				merged = map[string]any{}
			}
			merged[name] = value
		}
	}
	return merged
}

// tcpKeys are the values of the keys that every type over TCP has.
type tcpKeys struct {
	connects int
	header   ProxyHeader
}

// bind returns the keys and the check of a type.
func (t Type) bind(p Peer) (*Keys, Checker, *tcpKeys) {
	k, all := new(Keys), new(tcpKeys)
	if t.Transport != "tcp" {
		return k, t.Bind(k, p), all
	}
	dial := p.Dial
	p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return all.header.Dial(dial)(ctx, network, address) // which is known once the keys have been set
	}
	c := t.Bind(k, p)
	all.header.bind(k)
	k.Int(&all.connects, "connects", 0, 0, 1000, "plain TCP connects after each full check that succeeded (ldirectord's numeric checktype)")
	return k, c, all
}

// Builtin returns the types of this package. A program that calls it links all of
// them; one that needs few passes those to [NewRegistry] itself.
func Builtin() []Type {
	return []Type{
		DNSType(), ExternalType(), FTPType(), GRPCType(), HTTPType(), HTTPProxyType(), HTTPSType(), IMAPType(), IMAPSType(),
		LDAPType(), LDAPSType(), MySQLType(), NNTPType(), OffType(), OnType(), PgSQLType(), PingType(), POP3Type(), POP3SType(),
		RADIUSType(), RedisType(), SIPType(), SMTPType(), SYNType(), SimpleTCPType(), SubmissionType(), TCPType(), TLSType(),
		UDPType(),
	}
}
