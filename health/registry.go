package health

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Registry makes checks from the name of a type and parameters, as a config and a
// command line have them. It is immutable, and safe for concurrent use.
type Registry struct {
	types []Type // in alphabetical order
	seed  maphash.Seed
}

// NewRegistry returns a registry of the given types and no others:
//
//	health.NewRegistry(health.TCPType(), health.HTTPType())       // these two
//	health.NewRegistry(health.Builtin()...)                       // all of this package
//	health.NewRegistry(append(health.Builtin(), myType)...)       // and one more
//
// Of types with the same Name the last one counts, so that your own can replace a
// built-in one. It panics where a type lacks Name or Bind.
func NewRegistry(types ...Type) *Registry {
	byName := map[string]Type{}
	for _, t := range types {
		if t.Name == "" || t.Bind == nil {
			panic(fmt.Sprintf("health: type %q: Name and Bind must be given", t.Name))
		}
		byName[t.Name] = t
	}
	sorted := slices.SortedFunc(maps.Values(byName), func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
	return &Registry{types: sorted, seed: maphash.MakeSeed()}
}

// Types returns all types in alphabetical order.
func (r *Registry) Types() []Type { return slices.Clone(r.types) }

// Find returns the type that has a name: as its Name, else as one of its others.
func (r *Registry) Find(name string) (Type, bool) {
	i := slices.IndexFunc(r.types, func(t Type) bool { return t.Name == name })
	if i < 0 {
		i = slices.IndexFunc(r.types, func(t Type) bool { return slices.Contains(t.Also, name) })
	}
	if i < 0 {
		return Type{}, false
	}
	return r.types[i], true
}

// New makes a check of a type for a peer. A parameter is a string, number or boolean,
// or a list of these; for a key that takes a list it may be a mapping, whose entries
// count as "name: value". An error is a [ParamErrors], which names every mistake.
//
// The key that it returns names type, server and parameters, for [Target]: checks with
// equal keys are the same. A secret is part of it as a hash with a seed of this
// Registry.
func (r *Registry) New(name string, p Peer, params map[string]any) (key string, c Checker, err error) {
	t, ok := r.Find(name)
	if !ok {
		return "", nil, ParamErrors{{Key: "type", Value: name, Problem: unknownType(name), Allowed: r.names()}}
	}
	if p.Addr.Port() == 0 {
		p.Addr = netip.AddrPortFrom(p.Addr.Addr(), t.Port)
	}
	errs := sourceProblem(t, p)
	if p.Source != (Source{}) {
		p.Dial, p.Listen = p.Source.Dial, p.Source.Listen
	}
	p.Dial = p.Dial.dial // which is the host's own where it was nil
	k, c, all := t.bind(p)
	given, wrong := r.set(k, params)
	errs = append(errs, wrong...)
	if t.Transport != "" && !p.Addr.Addr().IsValid() {
		errs = append(errs, ParamError{Key: "address", Problem: "must be given"})
	} else if (t.Transport == "tcp" || t.Transport == "udp") && p.Addr.Port() == 0 {
		errs = append(errs, ParamError{Key: "port", Problem: "must be given: " + t.Name + " has no port of its own"})
	}
	if len(errs) == 0 { // what depends on several values needs them right
		errs = k.finish()
	}
	if len(errs) > 0 {
		return "", nil, errs
	}
	if all.connects > 0 {
		c = &Alternate{Full: c, Cheap: &TCP{Addr: p.Addr, Dial: all.header.Dial(p.Dial)}, N: all.connects, CheapTimeout: p.ConnectTimeout}
	}
	return checkKey(t, p, given), c, nil
}

// unknownType is the problem with the name of a type that is not there. Two words of
// ldirectord's checktype that are no types get a hint.
func unknownType(name string) string {
	if name == "negotiate" {
		return "no such type of check: what ldirectord calls service is the type"
	}
	if _, err := strconv.Atoi(name); err == nil {
		return "no such type of check: how many connects come between two is the key connects of a type"
	}
	return "no such type of check"
}

// set sets all parameters and returns them as text, sorted.
func (r *Registry) set(k *Keys, params map[string]any) (given []string, errs ParamErrors) {
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
				shown = key.Name + "=" + r.hide(key, v)
			}
			given = append(given, shown)
		}
	}
	for _, key := range k.all {
		if key.Required && !key.given {
			errs = append(errs, ParamError{Key: key.Name, Problem: "must be given", Allowed: key.Allowed})
		}
	}
	slices.Sort(given)
	return given, errs
}

// hide is a secret as it is shown: what of it may be, and a hash.
func (r *Registry) hide(k *Key, v string) string {
	hash := fmt.Sprintf("#%016x", maphash.String(r.seed, v))
	if name, _, ok := strings.Cut(v, k.ShownTo); ok && name != "" {
		return strconv.Quote(name + k.ShownTo + hash)
	}
	return hash
}

// finish runs what was given to Then, now that all values are set.
func (k *Keys) finish() (errs ParamErrors) {
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

// checkKey names a check: type, address and parameters.
func checkKey(t Type, p Peer, given []string) string {
	parts := []string{t.Name}
	switch {
	case t.PerService:
		parts = append(parts, p.Addr.String(), "for", p.Service.String())
	case !p.Addr.Addr().IsValid():
	case t.Transport == "icmp" || p.Addr.Port() == 0:
		parts = append(parts, p.Addr.Addr().String())
	default: // also where there is no Transport: what the check finds may depend on the server
		parts = append(parts, p.Addr.String())
	}
	if p.Name != "" {
		parts = append(parts, "as", p.Name)
	}
	if from := p.Source.String(); from != "" {
		parts = append(parts, from)
	}
	return strings.Join(append(parts, given...), " ")
}

func (r *Registry) names() string {
	names := make([]string, len(r.types))
	for i, t := range r.types {
		names[i] = t.Name
	}
	return strings.Join(names, ", ")
}
