package health

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Peer is what a check is pointed at, and how it gets there.
type Peer struct {
	Addr netip.AddrPort // of the server; port 0 means the type's own
	Name string         // host name to ask it for (Host header, SNI) where no key gives one; may be ""
	// Service is the virtual service's address and port, for an external command.
	Service netip.AddrPort
	// Dial and Listen open the check's sockets; nil are the host's own.
	Dial   DialFunc
	Listen ListenFunc
}

// ListenFunc opens a packet socket: network "udp4" or "udp6" for an unprivileged
// ping socket, "ip4:icmp", "ip6:ipv6-icmp" or "ip4:tcp", "ip6:tcp" for a raw one.
type ListenFunc func(network, address string) (net.PacketConn, error)

// Type is a kind of check by its name in a config and on a command line.
type Type struct {
	Name       string
	Also       []string // other names, ldirectord's where it has one
	About      string   // one line
	Transport  string   // tcp, udp, icmp; "" where it sends nothing by itself
	Port       uint16   // of the protocol; 0 where it has none
	PerService bool     // what it asks depends on Peer.Service
	// Bind makes the check and binds its parameters. They have their values when
	// the functions given to Keys.Then have run.
	Bind func(*Keys, Peer) Checker
}

// Keys returns the type's parameters.
func (t Type) Keys() []Key {
	k, _, _ := t.bind(Peer{})
	keys := make([]Key, len(k.all))
	for i, key := range k.all {
		keys[i] = *key
	}
	return keys
}

// Merge returns params with those of over instead where both give a key, whichever
// of its names they use.
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

func (t Type) bind(p Peer) (*Keys, Checker, *int) {
	k, connects := new(Keys), new(int)
	c := t.Bind(k, p)
	if t.Transport == "tcp" {
		k.Int(connects, "connects", 0, 0, 1000, "plain TCP connects after each full check that succeeded (ldirectord's numeric checktype)")
	}
	return k, c, connects
}

// Registry makes checks by the names and parameters of a config. It is safe for
// concurrent use.
type Registry struct {
	types []Type
	seed  maphash.Seed
}

// NewRegistry returns a registry of this package's types and of those given.
func NewRegistry(more ...Type) *Registry {
	return &Registry{types: append(builtin(), more...), seed: maphash.MakeSeed()}
}

func builtin() []Type {
	return slices.Concat([]Type{
		DNSType(), ExternalType(), FTPType(), GRPCType(), MySQLType(), NNTPType(), OffType(), OnType(), PgSQLType(),
		PingType(), RADIUSType(), RedisType(), SIPType(), SMTPType(), SYNType(), SimpleTCPType(), SubmissionType(), TCPType(),
		TLSType(), UDPType(),
	}, HTTPTypes(), IMAPTypes(), LDAPTypes(), POP3Types())
}

// Types returns all types, in alphabetical order.
func (r *Registry) Types() []Type {
	return slices.SortedFunc(slices.Values(r.types), func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
}

// Find returns the type of a name.
func (r *Registry) Find(name string) (Type, bool) {
	for _, t := range r.types {
		if t.Name == name || slices.Contains(t.Also, name) {
			return t, true
		}
	}
	return Type{}, false
}

// New makes a check of a type for a peer. Parameters are texts, numbers, booleans,
// lists of them, or, for a key that takes a list, a mapping whose entries count as
// "name: value". Its errors are [ParamErrors], which name every mistake.
//
// The key it returns names the whole question, for [Target]: equal keys ask the
// same of the same server. It shows no secret: these count by a hash that only
// this registry knows.
func (r *Registry) New(name string, p Peer, params map[string]any) (key string, c Checker, err error) {
	t, ok := r.Find(name)
	if !ok {
		return "", nil, ParamErrors{{Key: "type", Value: name, Problem: unknownType(name), Allowed: r.names()}}
	}
	if p.Addr.Port() == 0 {
		p.Addr = netip.AddrPortFrom(p.Addr.Addr(), t.Port)
	}
	k, c, connects := t.bind(p)
	said, errs := r.set(k, params)
	if t.Transport != "" && !p.Addr.Addr().IsValid() {
		errs = append(errs, ParamError{Key: "address", Problem: "must be given"})
	} else if (t.Transport == "tcp" || t.Transport == "udp") && p.Addr.Port() == 0 {
		errs = append(errs, ParamError{Key: "port", Problem: "must be given: " + t.Name + " has no port of its own"})
	}
	if len(errs) == 0 { // what depends on several values needs them right
		errs = then(k)
	}
	if len(errs) > 0 {
		return "", nil, errs
	}
	if *connects > 0 {
		c = &Alternate{Full: c, Cheap: &TCP{Addr: p.Addr, Dial: p.Dial}, N: *connects}
	}
	return identity(t, p, said), c, nil
}

// unknownType says what is wrong with the name of a type; of ldirectord's words for
// checktype that name none, it says what takes their place.
func unknownType(name string) string {
	if name == "negotiate" {
		return "no such type of check: what ldirectord calls service is the type"
	}
	if _, err := strconv.Atoi(name); err == nil {
		return "no such type of check: how many connects come between two is the key connects of a type"
	}
	return "no such type of check"
}

// set sets all parameters and returns them in order, as text.
func (r *Registry) set(k *Keys, params map[string]any) (said []string, errs ParamErrors) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		key := k.find(name)
		if key == nil {
			errs = append(errs, ParamError{Key: name, Problem: "unknown", Allowed: k.names()})
			continue
		}
		if key.given {
			errs = append(errs, ParamError{Key: name, Problem: "given twice: " + strings.Join(append([]string{key.Name}, key.Also...), " and ") + " are the same"})
			continue
		}
		key.given = true
		values, ok := texts(params[name])
		if !ok || !key.List && len(values) != 1 {
			shown := fmt.Sprint(params[name])
			if key.Secret {
				shown = ""
			}
			errs = append(errs, ParamError{Key: name, Value: shown, Problem: "not a single value", Allowed: key.Allowed})
			continue
		}
		for _, v := range values {
			shown := fmt.Sprintf("%s=%q", key.Name, v)
			if err := key.set(v); err != nil {
				if key.Secret {
					v = ""
				}
				errs = append(errs, ParamError{Key: name, Value: v, Problem: err.Error(), Allowed: key.Allowed})
				continue
			}
			if key.Secret {
				shown = fmt.Sprintf("%s=#%016x", key.Name, maphash.String(r.seed, v))
			}
			said = append(said, shown)
		}
	}
	for _, key := range k.all {
		if key.Required && !key.given {
			errs = append(errs, ParamError{Key: key.Name, Problem: "must be given", Allowed: key.Allowed})
		}
	}
	slices.Sort(said) // names that are equal are spelt alike
	return said, errs
}

func then(k *Keys) (errs ParamErrors) {
	for _, f := range k.then {
		err := f()
		var named ParamError
		if errors.As(err, &named) {
			errs = append(errs, named)
		} else if err != nil {
			errs = append(errs, ParamError{Key: "check", Problem: err.Error()})
		}
	}
	return errs
}

// identity is the name of a question: type, address, and what it was told.
func identity(t Type, p Peer, said []string) string {
	parts := []string{t.Name}
	switch {
	case t.PerService:
		parts = append(parts, p.Addr.String(), "for", p.Service.String())
	case t.Transport == "icmp":
		parts = append(parts, p.Addr.Addr().String())
	case t.Transport != "":
		parts = append(parts, p.Addr.String())
	}
	if p.Name != "" {
		parts = append(parts, "as", p.Name)
	}
	return strings.Join(append(parts, said...), " ")
}

func (r *Registry) names() string {
	var names []string
	for _, t := range r.Types() {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// texts returns a parameter's values as text, and whether it is of a kind that a
// parameter can be.
func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case []string:
		return v, true
	case []any:
		var all []string
		for _, item := range v {
			s, ok := texts(item)
			if !ok || len(s) != 1 {
				return nil, false
			}
			all = append(all, s...)
		}
		return all, true
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s, ok := texts(v[name])
			if !ok || len(s) != 1 {
				return nil, false
			}
			all = append(all, name+": "+s[0])
		}
		return all, true
	case nil:
		return nil, false
	}
	return []string{fmt.Sprint(v)}, true
}

// errNotAllowed is a problem that the allowed values explain.
var errNotAllowed = errors.New("not allowed")

// ParamError is one mistake in the parameters of a check.
type ParamError struct {
	Key     string // as given
	Value   string // as given; "" where there is none or it is secret
	Problem string
	Allowed string // what would be right; "" where Problem says it
}

// Error prints key, value, problem and what is allowed in one line.
func (e ParamError) Error() string {
	s := e.Key
	if e.Value != "" {
		s += fmt.Sprintf(" %q", e.Value)
	}
	s += ": " + e.Problem
	if e.Allowed != "" {
		s += "; allowed: " + e.Allowed
	}
	return s
}

// ParamErrors is every mistake in the parameters of a check.
type ParamErrors []ParamError

// Error prints one mistake a line.
func (es ParamErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
