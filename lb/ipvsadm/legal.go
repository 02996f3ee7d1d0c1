package ipvsadm

import (
	"strings"
	"time"

	"github.com/golb/golb/lb"
)

// finish checks what belongs together, in ipvsadm's order.
func (r *reader) finish() error {
	if r.cmd.Op == SetTimeouts {
		if err := r.timeouts(); err != nil {
			return err
		}
	}
	if len(r.operands) > 0 {
		return fail("unexpected argument %s", r.operands[0])
	}
	if err := r.schedulerFlags(); err != nil {
		return err
	}
	if err := r.legal(); err != nil {
		return err
	}
	switch r.cmd.Op {
	case AddService, EditService:
		return r.checkService()
	case AddServer, EditServer:
		return r.checkServer()
	case List:
		return r.checkList()
	case Save:
		r.cmd.Numeric = r.set.has(numeric)
	}
	return nil
}

func (r *reader) timeouts() error {
	if len(r.operands) < 3 {
		return fail("--set option requires 3 timeout values")
	}
	for i, text := range r.operands[:3] {
		seconds, ok := number(text, 0, maxTimeout)
		if !ok {
			return fail("invalid timeout value `%s' specified", text)
		}
		r.cmd.Timeouts[i] = time.Duration(seconds) * time.Second
	}
	r.operands = r.operands[3:]
	return nil
}

// schedulerFlags reads -b, now that the scheduler is known.
func (r *reader) schedulerFlags() error {
	for name := range strings.SplitSeq(r.flags, ",") {
		if name == "" {
			continue
		}
		sched, kind, _ := strings.Cut(name, "-")
		flag, ok := map[string]Flags{"1": Flag1, "2": Flag2, "3": Flag3}[kind]
		if sched != "flag" {
			flag, ok = map[string]Flags{"fallback": Flag1, "port": Flag2}[kind]
			ok = ok && (sched == "sh" || sched == "mh")
		}
		switch {
		case !ok:
			return fail("invalid scheduler flag `%s'", name)
		case sched != "flag" && sched != r.cmd.Service.Scheduler:
			return fail("incompatible scheduler flag `%s'", name)
		}
		r.cmd.Service.Flags |= flag
	}
	return nil
}

// legal checks the options against those that the command takes.
func (r *reader) legal() error {
	rule := &rules[r.cmd.Op]
	for i := range ids {
		switch {
		case rule.required.has(i) && !r.set.has(i):
			return fail("You need to supply the '%s' option for the '%s' command", names[i], rule.name)
		case r.set.has(i) && !rule.required.has(i) && !rule.allowed.has(i):
			return fail("Illegal '%s' option with the '%s' command", names[i], rule.name)
		}
	}
	return nil
}

func (r *reader) checkService() error {
	s := &r.cmd.Service
	switch {
	case s.Mark == 0 && s.Port == 0 && s.Persistence == 0:
		return fail("Zero port specified for non-persistent service")
	case s.OnePacket && s.Mark == 0 && s.Protocol != lb.UDP:
		return fail("One-Packet Scheduling is only for UDP virtual services")
	}
	return nil
}

func (r *reader) checkServer() error {
	v, s := &r.cmd.Service, &r.cmd.Server
	if v.IPv6 != s.Address.Is6() && s.Method != lb.TUN {
		return fail("Different address family is allowed only for tunneling servers")
	}
	if s.Method == lb.TUN {
		if err := r.checkTunnel(); err != nil {
			return err
		}
	} else if r.set.hasAny(of(tunType, tunPort, tunNocsum, tunCsum, tunRemcsum)) {
		return fail("Tunnel options conflict with forward method")
	}
	if s.Method != lb.NAT && v.Mark == 0 {
		s.Port = v.Port // packets keep the one they come with
	}
	return nil
}

func (r *reader) checkTunnel() error {
	var required, allowed set
	switch r.cmd.Server.Tunnel.Type {
	case lb.GUE:
		required, allowed = of(tunPort), of(tunNocsum, tunCsum, tunRemcsum)
	case lb.GRE:
		allowed = of(tunNocsum, tunCsum)
	}
	name := r.cmd.Server.Tunnel.Type.String()
	for i := tunPort; i <= tunRemcsum; i++ {
		switch {
		case required.has(i) && !r.set.has(i):
			return fail("You need to supply the '%s' option for the '%s' tunnel type", names[i], name)
		case r.set.has(i) && !required.has(i) && !allowed.has(i):
			return fail("Illegal '%s' option with the '%s' tunnel type", names[i], name)
		}
	}
	if a, b, both := r.two(tunNocsum, tunCsum, tunRemcsum); both {
		return fail("The option '%s' conflicts with the '%s' option in the '%s' tunnel type", names[b], names[a], name)
	}
	return nil
}

func (r *reader) checkList() error {
	if a, b, both := r.two(connection, serviceAddress, timeout, daemon); both {
		return fail("The option '%s' conflicts with the '%s' option in the 'list' command", names[b], names[a])
	}
	if r.set.hasAny(of(connection, timeout, daemon)) && r.set.hasAny(of(stats, rate, thresholds)) ||
		r.set.hasAny(of(timeout, daemon)) && r.set.has(persistentConn) {
		return fail("options conflicts in the list command")
	}
	r.cmd.Numeric = r.set.has(numeric)
	r.cmd.List = Listing{
		Connections: r.set.has(connection), Timeouts: r.set.has(timeout), Daemon: r.set.has(daemon),
		Stats: r.set.has(stats), Rate: r.set.has(rate), Thresholds: r.set.has(thresholds),
		PersistentConn: r.set.has(persistentConn), TunnelInfo: r.set.has(tunInfo),
		Unsorted: r.set.has(nosort), Exact: r.set.has(exact),
	}
	return nil
}

// two returns the first two of options that exclude each other.
func (r *reader) two(exclusive ...id) (a, b id, both bool) {
	a = ids
	for _, i := range exclusive {
		switch {
		case !r.set.has(i):
		case a == ids:
			a = i
		default:
			return a, i, true
		}
	}
	return a, ids, false
}
