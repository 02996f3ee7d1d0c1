package ipvsadm

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/golb/golb/lb"
)

// Parser reads command lines. The zero value looks names up as the system does. It is
// safe for concurrent use if the functions are.
type Parser struct {
	// LookupHost finds the IPv4 address of a name. nil means the system's resolver.
	LookupHost func(name string) (netip.Addr, error)
	// LookupPort finds the port of a service's name. nil means the system's list.
	LookupPort func(p lb.Protocol, name string) (uint16, error)
}

// Parse reads a command line, without the program's name. Errors are *Error.
func Parse(args []string) (Command, error) { return new(Parser).Parse(args) }

// ParseLine reads a line of the output of ipvsadm -S, as -R does: words are separated by
// blanks, there are no quotes, and the word ipvsadm before a command is ignored. Op is None
// for a blank line.
func ParseLine(line string) (Command, error) { return new(Parser).ParseLine(line) }

// ParseLine is the function ParseLine with the parser's lookups.
func (p *Parser) ParseLine(line string) (Command, error) {
	args := strings.Fields(line)
	for len(args) > 0 && args[0] == "ipvsadm" {
		args = args[1:]
	}
	if len(args) == 0 {
		return Command{}, nil
	}
	cmd, err := p.Parse(args)
	if err == nil && cmd.Op == Restore {
		return Command{}, errTryHelp()
	}
	return cmd, err
}

// Parse is the function Parse with the parser's lookups.
func (p *Parser) Parse(args []string) (Command, error) {
	if len(args) == 0 {
		return Command{Op: List}, nil
	}
	r := &reader{Parser: p, scanner: scanner{args: args}}
	if err := r.read(); err != nil {
		return Command{}, err
	}
	return r.cmd, nil
}

// maxTimeout is the most that a timeout may be, 31 days, in seconds.
const maxTimeout = 86400 * 31

const defaultPersistence = 360 * time.Second

func fail(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...), 2} }

func errTryHelp() error {
	return &Error{"Try `ipvsadm -h' or 'ipvsadm --help' for more information.", 255}
}

// reader reads one command line.
type reader struct {
	*Parser
	scanner
	cmd   Command
	set   set
	flags string      // -b, which depends on -s
	proto lb.Protocol // that ports are named in
}

func (r *reader) read() error {
	first, done, err := r.next()
	if err != nil || done || first.id != command {
		return errTryHelp()
	}
	if err := r.begin(first); err != nil {
		return err
	}
	if r.cmd.Op == Help || r.cmd.Op == Version {
		return nil
	}
	for {
		g, done, err := r.next()
		if err != nil {
			return err
		}
		if done {
			return r.finish()
		}
		if err := r.option(g); err != nil {
			return err
		}
	}
}

// begin reads the command, and sets the values for options that are not given.
func (r *reader) begin(g given) error {
	r.cmd.Op = g.op
	switch g.op {
	case AddService, EditService:
		r.cmd.Service.Scheduler, r.cmd.Service.Mask = "wlc", fullMask(false)
	case AddServer, EditServer:
		r.cmd.Server.Method, r.cmd.Server.Weight = lb.DSR, 1
	case StartDaemon, StopDaemon:
		switch {
		case g.value == "backup":
			r.cmd.Daemon.Backup = true
		case g.value != "master" && g.op == StartDaemon:
			return fail("illegal start-daemon parameter specified")
		case g.value != "master":
			return fail("illegal start_daemon specified")
		}
		if g.op == StartDaemon {
			r.cmd.Daemon.Interface = "eth0"
		}
	}
	return nil
}

// option takes an option after the command.
func (r *reader) option(g given) error {
	if g.id < ids {
		if r.set.has(g.id) {
			return fail("multiple '%s' options specified", names[g.id])
		}
		r.set |= of(g.id)
	}
	switch g.id {
	case command:
		return fail("invalid option `%s'", r.last)
	case ipv6:
		if r.cmd.Service.Mark == 0 {
			return fail("-6 used before -f")
		}
		r.family(true)
	case serviceAddress:
		return r.service(g)
	case scheduler, persistent, netmask, ops, engine, schedFlags:
		return r.serviceOption(g)
	case realServer, forwardingMethod, weight, uThreshold, lThreshold, tunType, tunPort, tunNocsum, tunCsum, tunRemcsum:
		return r.serverOption(g)
	case mcastInterface, syncid, mcastGroup, mcastPort, mcastTTL, syncMaxlen:
		return r.daemonOption(g)
	}
	return nil
}

// family sets the service's, and with it the mask of whole addresses.
func (r *reader) family(ipv6 bool) {
	s := &r.cmd.Service
	s.IPv6 = ipv6
	if ipv6 && s.Mask.IsValid() {
		s.Mask = fullMask(true)
	}
}

func (r *reader) service(g given) error {
	s := &r.cmd.Service
	r.cmd.HasService = true
	switch g.long {
	case "fwmark-service":
		mark, ok := number(g.value, 1, math.MaxUint32)
		if !ok {
			return fail("invalid fwmark value `%s' specified", g.value)
		}
		s.Mark, r.proto = uint32(mark), lb.TCP
		return nil
	case "tcp-service":
		s.Protocol = lb.TCP
	case "udp-service":
		s.Protocol = lb.UDP
	case "sctp-service":
		s.Protocol = lb.SCTP
	}
	r.proto = s.Protocol
	var err error
	if s.Address, s.Port, err = r.hostAndPort(g.value, r.proto); err != nil {
		return fail("illegal virtual server address[:port] specified")
	}
	r.family(s.Address.Is6())
	return nil
}

func (r *reader) serviceOption(g given) error {
	s := &r.cmd.Service
	switch g.id {
	case scheduler:
		if g.value != "" {
			s.Scheduler = g.value
		}
	case persistent:
		s.Persistence = defaultPersistence
		if g.has {
			seconds, ok := number(g.value, 1, maxTimeout)
			if !ok {
				return fail("invalid timeout value `%s' specified", g.value)
			}
			s.Persistence = time.Duration(seconds) * time.Second
		}
	case netmask:
		if s.IPv6 {
			bits, ok := number(g.value, 1, 128)
			if !ok {
				return fail("illegal ipv6 netmask specified")
			}
			s.Mask = maskOf(int(bits))
			return nil
		}
		var err error
		if s.Mask, err = r.host(g.value); err != nil {
			return fail("illegal virtual server persistent mask specified")
		}
	case ops:
		s.OnePacket = true
	case engine:
		s.Engine = g.value
	case schedFlags:
		r.flags = g.value
	}
	return nil
}

func (r *reader) serverOption(g given) error {
	s := &r.cmd.Server
	amount := func(to *int, what string) error {
		n, ok := number(g.value, 0, math.MaxInt32)
		if !ok {
			return fail("illegal %s specified", what)
		}
		*to = int(n)
		return nil
	}
	switch g.id {
	case realServer:
		var err error
		if s.Address, s.Port, err = r.hostAndPort(g.value, r.proto); err != nil {
			return fail("illegal real server address[:port] specified")
		}
		if !portGiven(g.value, s.Address) {
			s.Port = r.cmd.Service.Port
		}
	case forwardingMethod:
		s.Method = map[string]lb.Method{"gatewaying": lb.DSR, "masquerading": lb.NAT, "ipip": lb.TUN}[g.long]
	case weight:
		return amount(&s.Weight, "weight")
	case uThreshold:
		return amount(&s.UpperThreshold, "u_threshold")
	case lThreshold:
		return amount(&s.LowerThreshold, "l_threshold")
	case tunType:
		types := map[string]lb.TunnelType{"ipip": lb.IPIP, "gue": lb.GUE, "gre": lb.GRE}
		var ok bool
		if s.Tunnel.Type, ok = types[g.value]; !ok {
			return fail("illegal tunnel type specified")
		}
	case tunPort:
		port, ok := number(g.value, 1, math.MaxUint16)
		if !ok {
			return fail("illegal tunnel port specified")
		}
		s.Tunnel.Port = uint16(port)
	case tunCsum:
		s.Tunnel.Checksum = FullChecksum
	case tunRemcsum:
		s.Tunnel.Checksum = RemoteChecksum
	}
	return nil
}

// portGiven reports whether an address that was read names a port.
func portGiven(text string, a netip.Addr) bool {
	return strings.HasPrefix(text, "[") || !a.Is6() && strings.Contains(text, ":")
}

func (r *reader) daemonOption(g given) error {
	d := &r.cmd.Daemon
	amount := func(least, most int64) (int64, error) {
		n, ok := number(g.value, least, most)
		if !ok {
			return 0, fail("illegal %s specified", names[g.id])
		}
		return n, nil
	}
	var n int64
	var err error
	switch g.id {
	case mcastInterface:
		if g.value != "" {
			d.Interface = g.value
		}
	case syncid:
		n, err = amount(0, math.MaxUint8)
		d.SyncID = uint8(n)
	case mcastPort:
		n, err = amount(1, math.MaxUint16)
		d.Port = uint16(n)
	case mcastTTL:
		n, err = amount(1, math.MaxUint8)
		d.TTL = uint8(n)
	case syncMaxlen:
		n, err = amount(1, 65535-20-8)
		d.MaxLength = uint16(n)
	case mcastGroup:
		family := "IPv4"
		if strings.Contains(g.value, ":") {
			family = "IPv6"
		}
		if d.Group, err = netip.ParseAddr(g.value); err != nil || !d.Group.IsMulticast() || d.Group.Zone() != "" {
			return fail("invalid %s mcast-group `%s'", family, g.value)
		}
	}
	return err
}
