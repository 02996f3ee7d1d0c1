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
	"os"

	"github.com/spf13/cobra"

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
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var usage usageError
	if !parsed || errors.As(err, &usage) {
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
	return root
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
  golb run -c golb.yaml     balance; reload with SIGHUP, end with SIGTERM
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
