// Checks reach servers with old certificates and signatures. These hold for alerts and for
// checks with verify too, where they let nobody in: a negative serial number protects
// nothing, and a SHA-1 signature would have to be forged within the handshake.
//
//go:debug x509negativeserial=1
//go:debug tlssha1=1

// Command golb balances TCP and UDP connections over servers at layer 4, without the
// kernel's help. See golb --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb/api"
	"github.com/golb/golb/lb/conf"
)

// The exit codes, as --help lists them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, parsed := newRootCommand(), false
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var usage usageError
	var refused *api.RefusedError
	if !parsed || errors.As(err, &usage) || errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
		fmt.Fprintf(stderr, "golb: %v\nsee %s --help\n", err, cmd.CommandPath())
		return exitUsage
	}
	printError(stderr, err)
	return exitFailed
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// loggedError is an error that has been logged already.
type loggedError struct{ error }

// printError prints mistakes in a file the way compilers do, so that editors find
// the place.
func printError(w io.Writer, err error) {
	var mistakes conf.Errors
	var logged loggedError
	switch {
	case errors.As(err, &logged):
	case errors.As(err, &mistakes):
		fmt.Fprintln(w, mistakes)
	default:
		fmt.Fprintln(w, "golb:", err)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "golb",
		Short:         "Layer-4 load balancer in userspace",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newRunCommand(), newAgentCommand(), newAlertCommand(), newCheckCommand(), newDemoCommand(), newHealthCommand(), newProbeCommand(), newSimulateCommand(), newVersionCommand(), newVRRPCommand(),
		newListCommand(), newConnectionsCommand(), newTemplatesCommand())
	root.AddCommand(newUpdateCommands()...)
	info, _ := debug.ReadBuildInfo()
	root.Version = versionLine(info)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetHelpCommand(newHelpCommand())
	return root
}

// addCompletion adds cobra's command for shells, which writes to where root does by then, and
// has it refuse shells that it does not know.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// newHelpCommand makes a help command that refuses what is no command.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("unknown command %q for %q", rest[0], c.CommandPath())
			}
			if err != nil {
				return usageError{err}
			}
			return c.Help()
		},
	}
}

// defaultConfig is the config of commands that are given none.
const defaultConfig = "/etc/golb.yaml"

// configFile returns the config that a command's arguments name, one at most, or the flag -c
// does, or else the default.
func configFile(args []string, flag string) (string, error) {
	switch {
	case len(args) > 0 && flag != "":
		return "", usageError{fmt.Errorf("%q and -c %q: one config is allowed", args[0], flag)}
	case len(args) > 0:
		return args[0], nil
	case flag != "":
		return flag, nil
	}
	if _, err := os.Stat(defaultConfig); err != nil {
		return "", usageError{fmt.Errorf("no config: FILE must be given, where there is no %s", defaultConfig)}
	}
	return defaultConfig, nil
}

const rootHelp = `golb balances TCP, UDP and SCTP connections over servers at layer 4: what IPVS,
ldirectord and keepalived do for a Linux box, in one program without a kernel
module. It takes the packets of a virtual IP address (VIP) from a network
interface, picks a server for each new connection, and passes packets on.

The VIP is configured nowhere on this host: golb answers ARP and neighbor
solicitations for it. With direct server return (dsr, the default) each server has
the VIP on its loopback interface, does not answer ARP for it, and replies to
clients itself.

Try it:
  golb demo                 a whole network in one process, nothing to set up
  golb check golb.yaml      every mistake in a file, each with its line
  golb probe tcp HOST:PORT  check one server once, as the health monitor would
  golb run golb.yaml        balance; reload with SIGHUP, end with SIGTERM
  golb health               which servers are up, and why others are down
  golb list                 services, servers and counters; also connections, templates
  golb drain SERVER         no new connections to it; also halt, activate, weight
  golb agent                on a server: tell golb how busy it is

A config:
` + minimalConfig + `
Exit codes:
  0  success; run was ended by SIGINT or SIGTERM
  1  failure: mistakes in a config, a refusal by the host, failed requests in demo,
     a server that is down in probe; run that did not end in time and was cut off
  2  a mistake in the command line`

// minimalConfig is indented as help shows it.
const minimalConfig = `  interfaces: [eth0]
  services:
    - vip: 192.0.2.100
      port: 80
      servers:
        - address: 192.0.2.11
        - address: 192.0.2.12
          weight: 2
`
