package lb

import (
	"maps"
	"slices"
)

// clone copies a config; the copy shares no memory with it.
func (c *Config) clone() Config {
	cfg := *c
	cfg.Interfaces, cfg.CPUs, cfg.Groups = slices.Clone(c.Interfaces), slices.Clone(c.CPUs), slices.Clone(c.Groups)
	for i := range cfg.Groups {
		cfg.Groups[i].Interfaces = slices.Clone(cfg.Groups[i].Interfaces)
	}
	cfg.Announce.Delay = clonePointer(c.Announce.Delay)
	set := &cfg.Settings
	set.ExpireNodestConn, set.ExpireQuiescentTemplate = clonePointer(set.ExpireNodestConn), clonePointer(set.ExpireQuiescentTemplate)
	set.ConnReuseMode, set.PMTUDisc = clonePointer(set.ConnReuseMode), clonePointer(set.PMTUDisc)
	set.ProbeTime, set.Merge = clonePointer(set.ProbeTime), clonePointer(set.Merge)
	cfg.Alerts = c.Alerts.clone()
	cfg.Services = slices.Clone(c.Services)
	for i := range cfg.Services {
		cfg.Services[i] = cfg.Services[i].clone()
	}
	return cfg
}

// withOwnServices copies a config as far as the lists of services and their servers.
func (c *Config) withOwnServices() Config {
	cfg := *c
	cfg.Services = slices.Clone(c.Services)
	for i := range cfg.Services {
		cfg.Services[i].Servers = slices.Clone(cfg.Services[i].Servers)
	}
	return cfg
}

func (s *Service) clone() Service {
	v := *s
	v.Match = slices.Clone(s.Match)
	for i := range v.Match {
		m := &v.Match[i]
		m.Protocols, m.Ports = slices.Clone(m.Protocols), slices.Clone(m.Ports)
	}
	v.SchedulerFlags = slices.Clone(s.SchedulerFlags)
	v.Allow, v.Deny = slices.Clone(s.Allow), slices.Clone(s.Deny)
	v.Fallback.Server = s.Fallback.Server.clone()
	v.Check, v.MoreChecks = s.Check.clone(), cloneChecks(s.MoreChecks)
	v.Alerts = s.Alerts.clone()
	v.Servers = slices.Clone(s.Servers)
	for i := range v.Servers {
		v.Servers[i] = v.Servers[i].clone()
	}
	return v
}

func (s *Server) clone() Server {
	r := *s
	r.Weight = clonePointer(s.Weight)
	r.Check, r.MoreChecks = s.Check.clone(), cloneChecks(s.MoreChecks)
	return r
}

func (c *Check) clone() Check {
	d := *c
	d.Params = cloneParams(c.Params)
	return d
}

func cloneChecks(checks []Check) []Check {
	checks = slices.Clone(checks)
	for i := range checks {
		checks[i] = checks[i].clone()
	}
	return checks
}

func (a *Alerts) clone() Alerts {
	c := *a
	c.Mail, c.Webhooks, c.Commands = slices.Clone(a.Mail), slices.Clone(a.Webhooks), slices.Clone(a.Commands)
	for i := range c.Mail {
		c.Mail[i].To = slices.Clone(c.Mail[i].To)
	}
	for i := range c.Webhooks {
		c.Webhooks[i].Header = maps.Clone(c.Webhooks[i].Header)
	}
	for i := range c.Commands {
		c.Commands[i].Args = slices.Clone(c.Commands[i].Args)
	}
	return c
}

// cloneParams copies the parameters of a check: texts, numbers, booleans, lists and
// mappings.
func cloneParams(params map[string]any) map[string]any {
	params = maps.Clone(params)
	for name, v := range params {
		params[name] = cloneParam(v)
	}
	return params
}

func cloneParam(v any) any {
	switch v := v.(type) {
	case []any:
		list := slices.Clone(v)
		for i := range list {
			list[i] = cloneParam(list[i])
		}
		return list
	case []string:
		return slices.Clone(v)
	case map[string]any:
		return cloneParams(v)
	case map[string]string:
		return maps.Clone(v)
	}
	return v
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
