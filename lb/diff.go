package lb

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/golb/golb/lb/internal/fields"
)

// ChangeKind is what became of a part of a Config.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded   ChangeKind = "added"
	ChangeRemoved ChangeKind = "removed"
	ChangeEdited  ChangeKind = "changed"
)

// ConfigChange is one difference between two Configs: a service or server that was added or
// removed, or a key whose value changed.
type ConfigChange struct {
	Kind    ChangeKind `json:"kind"`
	Service string     `json:"service,omitempty"` // its name; "" where it is about no service
	Server  string     `json:"server,omitempty"`  // its name; "" where it is about no server
	Key     string     `json:"key,omitempty"`     // as in a file, from the service or server on: check.interval
	// Old and New are the values; "" where there is none, for lists and mappings that were
	// added or removed whole, and for what may be secret: alerts, and a check's parameters.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// String returns the change in one line.
func (c ConfigChange) String() string {
	var b strings.Builder
	if c.Service != "" {
		b.WriteString("service " + c.Service + ": ")
	}
	if c.Server != "" {
		b.WriteString("server " + c.Server + ": ")
	}
	if c.Key != "" {
		b.WriteString(c.Key + ": ")
	}
	b.WriteString(string(c.Kind))
	if c.Old != "" || c.New != "" {
		fmt.Fprintf(&b, " from %q to %q", c.Old, c.New)
	}
	return b.String()
}

// attrs returns the change for the log.
func (c *ConfigChange) attrs() (attrs []slog.Attr) {
	for _, a := range []struct{ key, value string }{
		{"service", c.Service}, {"server", c.Server}, {"key", c.Key}, {"old", c.Old}, {"new", c.New},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	return attrs
}

// message says in the log what changed.
func (c *ConfigChange) message() string {
	what := "setting "
	switch {
	case c.Key != "":
	case c.Server != "":
		what = "server "
	default:
		what = "service "
	}
	return what + string(c.Kind)
}

// Diff returns what has to change for old to become new, in the order of new. As a reload
// does, it knows services by what they match, and servers by address and port.
func Diff(old, new *Config) (list []ConfigChange) {
	a, b := *old, *new
	a.Services, b.Services = nil, nil
	list = changedKeys(ConfigChange{}, a, b)

	before := map[string]*Service{}
	for i := range old.Services {
		before[old.Services[i].id()] = &old.Services[i]
	}
	for i := range new.Services {
		s := &new.Services[i]
		id := s.id()
		if was := before[id]; was == nil {
			list = append(list, ConfigChange{Kind: ChangeAdded, Service: s.name()})
		} else if !reflect.DeepEqual(was, s) {
			list = append(list, diffService(was, s)...)
		}
		delete(before, id)
	}
	for i := range old.Services {
		if s := &old.Services[i]; before[s.id()] != nil {
			list = append(list, ConfigChange{Kind: ChangeRemoved, Service: s.name()})
		}
	}
	return list
}

// diffService returns the changes of a service.
func diffService(old, new *Service) (list []ConfigChange) {
	a, b := *old, *new
	a.Servers, b.Servers = nil, nil
	about := ConfigChange{Service: new.name()}
	list = changedKeys(about, a, b)

	before := map[netip.AddrPort]*Server{}
	for i := range old.Servers {
		before[old.Servers[i].addrPort(old)] = &old.Servers[i]
	}
	for i := range new.Servers {
		r := &new.Servers[i]
		addr := r.addrPort(new)
		about.Server = r.name(new)
		if was := before[addr]; was == nil {
			about.Kind = ChangeAdded
			list = append(list, about)
		} else {
			list = append(list, changedKeys(about, *was, *r)...)
		}
		delete(before, addr)
	}
	for i := range old.Servers {
		if r := &old.Servers[i]; before[r.addrPort(old)] != nil {
			list = append(list, ConfigChange{Kind: ChangeRemoved, Service: new.name(), Server: r.name(old)})
		}
	}
	return list
}

// changedKeys returns the keys whose values differ between two values of one type.
func changedKeys[T any](about ConfigChange, old, new T) []ConfigChange {
	if reflect.DeepEqual(old, new) {
		return nil
	}
	a, _ := fields.Tree(reflect.ValueOf(old)) // what no file could hold shows no value
	b, _ := fields.Tree(reflect.ValueOf(new))
	about.Kind = ChangeEdited
	d := differ{about: about}
	d.compare("", a, b)
	return d.list
}

// differ collects the changes of keys.
type differ struct {
	about ConfigChange
	list  []ConfigChange
}

// compare compares two mappings, key by key; either may be nil.
func (d *differ) compare(path string, a, b *fields.Node) {
	keys := slices.Clone(keysOf(b))
	for _, k := range keysOf(a) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		x, y, at := item(a, k), item(b, k), fields.Join(path, k)
		switch {
		case isMap(x) && isMap(y), isMap(x) && y == nil, x == nil && isMap(y):
			d.compare(at, x, y)
		case !reflect.DeepEqual(x, y):
			c := d.about
			c.Key = at
			if !secret(at) {
				c.Old, c.New = valueOf(x), valueOf(y)
			}
			d.list = append(d.list, c)
		}
	}
}

// secret reports whether a key's values are not for logs: passwords are among alerts and
// the parameters of checks.
func secret(path string) bool {
	top, key, _ := strings.Cut(path, ".")
	if top == "check" {
		_, known := fields.TypeOf(reflect.TypeFor[Check]()).Find(key)
		return !known
	}
	return top == "alerts"
}

func keysOf(n *fields.Node) []string {
	if n == nil {
		return nil
	}
	return n.Keys
}

// item returns the value of a key in a mapping; nil where there is none.
func item(n *fields.Node, key string) *fields.Node {
	if i := slices.Index(keysOf(n), key); i >= 0 {
		return n.Items[i]
	}
	return nil
}

func isMap(n *fields.Node) bool { return n != nil && n.Kind == fields.Map && len(n.Items) > 0 }

// valueOf writes a scalar, or a list of scalars.
func valueOf(n *fields.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind != fields.List {
		return n.Text
	}
	var words []string
	for _, i := range n.Items {
		if i.Kind == fields.Scalar {
			words = append(words, i.Text)
		}
	}
	return strings.Join(words, ", ")
}

// maxLoggedChanges is how many changes of a config are logged one by one.
const maxLoggedChanges = 50

// logChanges logs what a new config changed.
func (b *Balancer) logChanges(list []ConfigChange) {
	for _, c := range list[:min(len(list), maxLoggedChanges)] {
		b.env.Logger.LogAttrs(context.Background(), slog.LevelInfo, c.message(), c.attrs()...)
	}
	if more := len(list) - maxLoggedChanges; more > 0 {
		b.env.Logger.Info("further changes of the config", "number", more)
	}
}
