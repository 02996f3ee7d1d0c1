package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/golb/golb/health"
)

// probe is one check as the command line asks for it.
type probe struct {
	registry *health.Registry
	timeout  duration
	json     bool
	service  string // the virtual service, for types with PerService
	source   string // address that the check comes from
	dev      string // interface by which it leaves
}

func newProbeCommand() *cobra.Command {
	p, list := &probe{registry: health.NewRegistry(health.Builtin()...), timeout: duration(3 * time.Second)}, false
	cmd := &cobra.Command{
		Use:   "probe TYPE HOST:PORT [--KEY VALUE ...]",
		Short: "Check one server once, as the health monitor would",
		Long: `Check one server once, as the health monitor would, and print the result in one
line: up or down, the time the check took, and why the server is down.

The port may be left out where the type has a default. A name is resolved, its first
address is checked, and protocols that carry a name (Host, SNI) get it. Keys are those
of a check in a config; a key that is true or false is written --tls or --tls=false,
and a list is its key given several times.

The exit code is 0 where the server is up, 1 where it is down, its name has no
address, or it could not be checked, and 2 for a mistake in the command line.`,
		Example: `  golb probe http 192.0.2.1:80 --path /check.txt --expect OK --timeout 1s
  golb probe --list                    # every type, its keys and their defaults
  golb probe http --help               # the keys of one type`,
		Args: func(_ *cobra.Command, args []string) error { return p.noType(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !list:
				return usageError{p.noType([]string{""})}
			case p.json:
				return usageError{errors.New("--json is for a check, not for --list")}
			}
			return listTypes(cmd.OutOrStdout(), p.registry)
		},
	}
	// Where the type is unknown, so are its keys: the type is the mistake to report.
	cmd.SetFlagErrorFunc(func(failed *cobra.Command, err error) error {
		if failed != cmd {
			return flagError(failed, err)
		}
		if wrong := p.noType(failed.Flags().Args()); wrong != nil {
			return wrong
		}
		return flagError(failed, err)
	})
	cmd.Flags().BoolVar(&list, "list", false, "print every type with its keys")
	cmd.PersistentFlags().Var(&p.timeout, "timeout", "how long the check may take")
	cmd.PersistentFlags().BoolVar(&p.json, "json", false, "print the result as JSON: type, target, up, reason, ms")
	cmd.PersistentFlags().StringVar(&p.source, "source", "", "`address` of this host to check from")
	cmd.PersistentFlags().StringVar(&p.dev, "interface", "", "`name` of the interface to check by")
	for _, t := range p.registry.Types() {
		cmd.AddCommand(p.newTypeCommand(t))
	}
	return cmd
}

// noType is the mistake in a command line whose first word is not a type.
func (p *probe) noType(args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, _, err := p.registry.New(args[0], health.Peer{}, nil)
	return err
}

// flagError adds the flags that are allowed to the error of an unknown flag.
func flagError(cmd *cobra.Command, err error) error {
	var notExist *pflag.NotExistError
	if !errors.As(err, &notExist) {
		return err
	}
	var allowed []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			allowed = append(allowed, "--"+f.Name)
		}
	})
	return fmt.Errorf("%w; allowed: %s", err, strings.Join(allowed, ", "))
}

// newTypeCommand is the command of one type: its flags are the keys.
func (p *probe) newTypeCommand(t health.Type) *cobra.Command {
	given := make(map[string]*values)
	cmd := &cobra.Command{
		Use:     strings.TrimSpace(t.Name + " " + targetSyntax(t)),
		Aliases: t.Also,
		Short:   t.About,
		RunE: func(cmd *cobra.Command, args []string) error {
			params := make(map[string]any)
			for name, v := range given {
				if len(v.all) > 0 {
					params[name] = v.all
				}
			}
			return p.run(cmd, t, args, params)
		},
	}
	for _, k := range t.Keys() {
		v := &values{flag: k.Flag}
		given[k.Name] = v
		bindKey(cmd.Flags(), k, v)
	}
	if t.PerService {
		cmd.Flags().StringVar(&p.service, "service", "", "ADDRESS:PORT of the virtual service")
	}
	return cmd
}

func bindKey(flags *pflag.FlagSet, k health.Key, v *values) {
	for i, name := range append([]string{k.Name}, k.Also...) {
		f := flags.VarPF(v, name, "", keyHelp(k))
		f.Hidden = i > 0
		f.DefValue = k.Default
		if k.Flag {
			f.NoOptDefVal = "true"
		}
	}
}

// keyHelp returns a key's help, with its values where they are not just any text.
func keyHelp(k health.Key) string {
	s := k.About
	if !k.Flag && !strings.HasPrefix(k.Allowed, "text") {
		s += " (" + k.Allowed + ")"
	}
	if k.Required {
		s += "; must be given"
	}
	if len(k.Also) > 0 {
		s += "; also --" + strings.Join(k.Also, ", --")
	}
	return s
}

// targetSyntax returns the argument of a type beside its keys.
func targetSyntax(t health.Type) string {
	switch {
	case t.Transport == "icmp":
		return "HOST"
	case t.PerService, t.Transport != "" && t.Port != 0:
		return "HOST[:PORT]"
	case t.Transport != "":
		return "HOST:PORT"
	}
	return "[HOST:PORT]"
}

// probeResult is the result of a check as --json prints it.
type probeResult struct {
	Type   string  `json:"type"`
	Target string  `json:"target"` // the address and port that were checked; "" where none was
	Up     bool    `json:"up"`
	Reason string  `json:"reason"`
	Remark string  `json:"remark,omitempty"` // what to know of a check that passed
	MS     float64 `json:"ms"`
	took   time.Duration
	// notTried is true where this host could not make the check.
	notTried bool
}

// withLatency returns v with the time that the check took.
func (v probeResult) withLatency(took time.Duration) probeResult {
	v.took = took.Round(time.Microsecond)
	v.MS = float64(v.took.Microseconds()) / 1000
	return v
}

func (v probeResult) String() string {
	word, reason := "up", ""
	if !v.Up {
		word, reason = "down", ": "+v.Reason
	} else if v.Remark != "" {
		reason = ": " + v.Remark
	}
	if v.notTried {
		word = "not tried"
	}
	return fmt.Sprintf("%s in %v%s", word, v.took, reason)
}

func (p *probe) run(cmd *cobra.Command, t health.Type, args []string, params map[string]any) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host, port, err := parseTarget(t, args)
	if err != nil {
		return usageError{err}
	}
	peer, err := p.peer(host, port)
	if err != nil {
		return usageError{err}
	}
	// Mistakes are reported before anything is sent, DNS queries included.
	placeholder := peer
	named := peer.Name != "" && (t.Transport != "" || t.PerService)
	if named {
		placeholder.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
		if peer.Source.Addr.Is4() {
			placeholder.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
		}
	}
	if _, _, err := p.registry.New(t.Name, placeholder, params); err != nil {
		return usageError{err}
	}
	if named {
		began := time.Now()
		peer.Addr, err = p.lookUp(ctx, peer)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil { // it names the host
			return p.print(cmd.OutOrStdout(), probeResult{Type: t.Name, Reason: err.Error()}.withLatency(time.Since(began)))
		}
	}
	_, checker, err := p.registry.New(t.Name, peer, params)
	if err != nil {
		return usageError{err}
	}
	result, err := health.Once(ctx, checker, time.Duration(p.timeout))
	if err != nil {
		return errInterrupted
	}
	return p.print(cmd.OutOrStdout(), newProbeResult(t, peer, result))
}

// parseTarget splits the argument of a check; the port is 0 where there is none.
func parseTarget(t health.Type, args []string) (host string, port uint16, err error) {
	want := targetSyntax(t)
	if len(args) > 1 {
		return "", 0, fmt.Errorf("%s: one %s, not %d; true or false is written --KEY=true", t.Name, want, len(args))
	}
	if len(args) == 0 {
		if strings.HasPrefix(want, "[") {
			return "", 0, nil
		}
		return "", 0, fmt.Errorf("%s: %s must be given", t.Name, want)
	}
	host = args[0]
	addr := host
	if strings.HasPrefix(host, "[") { // ParseAddr would read all of "eth0]:80" as a zone
		addr, _ = strings.CutSuffix(host[1:], "]")
		if addr == host[1:] {
			addr = ""
		}
	}
	if _, err := netip.ParseAddr(addr); err == nil {
		return addr, 0, nil
	}
	if !strings.Contains(host, ":") && host != "" {
		return host, 0, nil
	}
	host, text, err := net.SplitHostPort(host)
	n, errPort := strconv.ParseUint(text, 10, 16)
	switch {
	case err != nil || host == "":
		return "", 0, fmt.Errorf("target %q: allowed: %s, an IPv6 address with a port in brackets", args[0], want)
	case t.Transport == "icmp":
		return "", 0, fmt.Errorf("target %q: %s has no ports; allowed: %s", args[0], t.Name, want)
	case errPort != nil || n == 0:
		return "", 0, fmt.Errorf("port %q: not allowed; allowed: 1 to 65535", text)
	}
	return host, uint16(n), nil
}

// peer returns the server to check, without an address where host is a name.
func (p *probe) peer(host string, port uint16) (health.Peer, error) {
	var peer health.Peer
	if addr, err := netip.ParseAddr(host); err == nil {
		peer.Addr = netip.AddrPortFrom(addr, port)
	} else {
		peer.Name, peer.Addr = host, netip.AddrPortFrom(netip.Addr{}, port)
	}
	peer.Source.Interface = p.dev
	if p.source != "" {
		source, err := netip.ParseAddr(p.source)
		if err != nil {
			return peer, fmt.Errorf("source %q: not allowed; allowed: an IPv4 or IPv6 address", p.source)
		}
		peer.Source.Addr = source.Unmap()
	}
	if p.service != "" {
		service, err := netip.ParseAddrPort(p.service)
		if err != nil {
			return peer, fmt.Errorf("service %q: not allowed; allowed: ADDRESS:PORT", p.service)
		}
		peer.Service = service
	}
	return peer, nil
}

// lookUp returns the first address of the peer's name, of the source's family where there
// is one. The check's timeout bounds it.
func (p *probe) lookUp(ctx context.Context, peer health.Peer) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.timeout))
	defer cancel()
	network := "ip"
	if source := peer.Source.Addr; source.Is4() {
		network = "ip4"
	} else if source.Is6() {
		network = "ip6"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, peer.Name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), peer.Addr.Port()), nil
}

// errInterrupted is the error of a probe that a signal ended before it had a result.
var errInterrupted = errors.New("probe: interrupted")

func newProbeResult(t health.Type, peer health.Peer, r health.Result) probeResult {
	v := probeResult{Type: t.Name, Up: r.Reason == "", Reason: r.Reason, Remark: r.Remark, notTried: r.NotTried}.withLatency(r.Latency)
	addr, port := peer.Addr.Addr(), peer.Addr.Port()
	if port == 0 {
		port = t.Port
	}
	switch {
	case !addr.IsValid():
	case port == 0:
		v.Target = addr.String()
	default:
		v.Target = netip.AddrPortFrom(addr, port).String()
	}
	return v
}

// print prints a result; it returns an error where the server is down.
func (p *probe) print(w io.Writer, v probeResult) error {
	var err error
	if p.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // a reason may quote a page
		err = enc.Encode(v)
	} else {
		_, err = fmt.Fprintln(w, v)
	}
	if err == nil && !v.Up {
		err = loggedError{errors.New(v.Reason)}
	}
	return err
}

// listTypes prints all types, each with a table of its keys.
func listTypes(w io.Writer, r *health.Registry) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, t := range r.Types() {
		if i > 0 {
			fmt.Fprintln(tw)
		}
		head := strings.TrimSpace(t.Name + " " + targetSyntax(t))
		if t.Port != 0 {
			head += fmt.Sprintf(" (%d)", t.Port)
		}
		if len(t.Also) > 0 {
			head += ", also " + strings.Join(t.Also, ", ")
		}
		fmt.Fprintf(tw, "%s: %s\n", head, t.About)
		for _, k := range t.Keys() {
			def := k.Default
			if def == "" {
				def = "-"
			}
			fmt.Fprintf(tw, "  --%s\t%s\t%s\n", k.Name, def, keyHelp(k))
		}
		// Each type has a table of its own.
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// values are the values of a key, in order; the registry validates them.
type values struct {
	all  []string
	flag bool
}

func (v *values) Set(s string) error { v.all = append(v.all, s); return nil }
func (v *values) String() string     { return strings.Join(v.all, ",") }
func (v *values) Type() string {
	if v.flag {
		return "bool"
	}
	return "value"
}

// duration is the value of --timeout.
type duration time.Duration

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < time.Millisecond {
		return errors.New("not allowed; allowed: a time of at least 1ms, like 500ms or 3s")
	}
	*d = duration(v)
	return nil
}
func (d *duration) String() string { return time.Duration(*d).String() }
func (d *duration) Type() string   { return "duration" }
