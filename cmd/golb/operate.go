package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

// newOperateCommands are those that tell the running golb what to do with a server.
func newOperateCommands() []*cobra.Command {
	return []*cobra.Command{newWeightCommand(), newDrainCommand(), newHaltCommand(), newActivateCommand()}
}

const operateHelp = `

SERVER is a server's name, its address, or address:port. It is meant in every
service that has it; --service names one.`

func newWeightCommand() *cobra.Command {
	return newOrderCommand(&cobra.Command{
		Use:   "weight SERVER WEIGHT",
		Short: "Change the weight of a server of the running golb",
		Long: `Change a server's share of new connections: 0 to 65535, 0 for none. It stays until
the config has another weight for the server.` + operateHelp,
		Example: "  golb weight 192.0.2.11 3",
		Args:    cobra.ExactArgs(2),
	}, func(o *api.Order, args []string) error {
		weight, err := strconv.Atoi(args[1])
		if err != nil {
			return usageError{fmt.Errorf("weight %q: allowed: 0 to 65535", args[1])}
		}
		o.Weight = &weight
		return nil
	}, printOrdered)
}

func newHaltCommand() *cobra.Command {
	return newOrderCommand(&cobra.Command{
		Use:   "halt SERVER",
		Short: "Cut a server's connections at once, and let no new ones to it",
		Long: `Let no new connections to a server, and cut those that there are: clients get a reset,
with NAT the server too. golb activate undoes it.` + operateHelp,
		Example: "  golb halt 192.0.2.11",
		Args:    cobra.ExactArgs(1),
	}, func(o *api.Order, _ []string) error {
		o.State = lb.Halt
		return nil
	}, printOrdered)
}

func newActivateCommand() *cobra.Command {
	return newOrderCommand(&cobra.Command{
		Use:     "activate SERVER",
		Short:   "Let a server that is drained or halted have new connections again",
		Long:    "Let a server have new connections again, as its weight says." + operateHelp,
		Example: "  golb activate 192.0.2.11",
		Args:    cobra.ExactArgs(1),
	}, func(o *api.Order, _ []string) error {
		o.State = lb.Active
		return nil
	}, printOrdered)
}

// newOrderCommand makes a command that has one order carried out, and then tells what
// became of it.
func newOrderCommand(cmd *cobra.Command, order func(o *api.Order, args []string) error, tell teller) *cobra.Command {
	client, o := api.Client{}, api.Order{}
	bindSocket(cmd, &client.Path)
	cmd.Flags().StringVar(&o.Service, "service", "", "the only service that is meant, by `name`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Server = args[0]
		if err := order(&o, args); err != nil {
			return err
		}
		done, err := client.Order(cmd.Context(), o)
		if err != nil {
			return err
		}
		return tell(cmd.Context(), cmd.OutOrStdout(), &client, done.Services)
	}
	return cmd
}

// teller tells of the servers that an order was about.
type teller func(ctx context.Context, w io.Writer, client *api.Client, of []api.Listed) error

func printOrdered(_ context.Context, w io.Writer, _ *api.Client, of []api.Listed) error {
	return printServices(w, of)
}

func newDrainCommand() *cobra.Command {
	var within time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain SERVER",
		Short: "Let no new connections to a server, and those that there are finish",
		Long: `Let no new connections to a server; those that there are go on. --within bounds how
long: what is left then is cut, as golb halt does. --wait tells how many are left,
each second in which that changes, and ends when none is: also one that the client
has closed is left for two minutes, since the server may still answer.` + operateHelp,
		Example: "  golb drain 192.0.2.11 --within 10m --wait",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.DurationVar(&within, "within", 0, "cut what is left after this `time`, as 10m")
	flags.BoolVar(&wait, "wait", false, "wait until no connection is left, and tell how many are")
	return newOrderCommand(cmd, func(o *api.Order, _ []string) error {
		o.State = lb.Drain
		if flags.Changed("within") {
			o.Within = within.String()
		}
		return nil
	}, func(ctx context.Context, w io.Writer, client *api.Client, of []api.Listed) error {
		if wait {
			return waitDrained(ctx, w, client, of)
		}
		return printServices(w, of)
	})
}

// waitDrained tells how many connections servers have left until none has any. One
// that is not draining any more is not waited for.
func waitDrained(ctx context.Context, w io.Writer, client *api.Client, of []api.Listed) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := left{-1, -1}
	for {
		l, err := client.Services(ctx)
		if err != nil {
			return err
		}
		if n := leftOn(l.Services, of); n != told {
			fmt.Fprintf(w, "%d left, %d of them active\n", n.all, n.active)
			told = n
		}
		if told.all == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// left is how many connections there are.
type left struct{ all, active int64 }

// leftOn counts the connections of those servers that are draining.
func leftOn(now, of []api.Listed) (n left) {
	type key struct{ service, server string }
	meant := map[key]bool{}
	for _, v := range of {
		for _, r := range v.Servers {
			meant[key{v.Name, r.Name}] = true
		}
	}
	for _, v := range now {
		for _, r := range v.Servers {
			if meant[key{v.Name, r.Name}] && r.State == lb.Drain {
				n.all += r.Active + r.Inactive
				n.active += r.Active
			}
		}
	}
	return n
}
