package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/golb/golb/health/agent"
)

func newAgentCommand() *cobra.Command {
	var listen string
	var overHTTP, memory bool
	cpu := true
	cmd := &cobra.Command{
		Use:   "agent [-- PROGRAM [ARGUMENT ...]]",
		Short: "Tell balancers how busy this server is",
		Long: `Answer balancers with the capacity that this server has left, from 0% to 100%, until
SIGINT or SIGTERM. The answer is the least of
  - how idle the processors were since the last question (--cpu),
  - the part of the memory that is available (--memory),
  - the number from 0 to 100 that a program prints, if one is named,
measured at most once a second. A source that fails is left out; where all fail, the
answer is down with the reason.

In golb's config it is asked by
  agent: {type: tcp}      or, with --http: {type: http}
and by HAProxy with agent-check. It needs no privileges. Whoever reaches its port is
answered: it listens on all addresses unless --listen names the one that balancers ask.`,
		Example: `  golb agent
  golb agent --http --memory --listen 10.0.0.1:3333
  golb agent --cpu=false -- /usr/local/bin/free-workers --percent`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("agent: %q: a program to run is named behind --", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s := agent.Server{HTTP: overHTTP}
			if cpu {
				s.Sources = append(s.Sources, &agent.CPU{})
			}
			if memory {
				s.Sources = append(s.Sources, &agent.Memory{})
			}
			if len(args) > 0 {
				s.Sources = append(s.Sources, &agent.Command{Program: args[0], Args: args[1:]})
			}
			if len(s.Sources) == 0 {
				return usageError{errors.New("agent: nothing to measure; allowed: --cpu, --memory, a program behind --")}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if _, err := net.ResolveTCPAddr("tcp", listen); err != nil {
				return usageError{fmt.Errorf("--listen %q: allowed: ADDRESS:PORT", listen)}
			}
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
			if err != nil {
				return err // it names the address
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "answering on %s, now: %s\n", l.Addr(), s.Answer(ctx))
			return s.Serve(ctx, l)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", fmt.Sprintf(":%d", agent.Port), "`ADDRESS:PORT` to listen on; without an address, on all")
	cmd.Flags().BoolVar(&overHTTP, "http", false, "answer HTTP requests, in place of a line per TCP connection")
	cmd.Flags().BoolVar(&cpu, "cpu", cpu, "measure how idle the processors are")
	cmd.Flags().BoolVar(&memory, "memory", false, "measure how much memory is available")
	return cmd
}
