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

// newUpdateCommands are those that tell the running golb what to do with a server.
func newUpdateCommands() []*cobra.Command {
	return []*cobra.Command{newWeightCommand(), newDrainCommand(), newHaltCommand(), newActivateCommand()}
}

const updateHelp = `

SERVER is a server's name, its address, or address:port. It is meant in every
service that has it; --service names one.`

func newWeightCommand() *cobra.Command {
	return newUpdateCommand(&cobra.Command{
		Use:   "weight SERVER WEIGHT",
		Short: "Change the weight of a server of the running golb",
		Long: `Change a server's share of new connections: 0 to 65535, 0 for none. It stays until
the config has another weight for the server.` + updateHelp,
		Example: "  golb weight 192.0.2.11 3",
		Args:    cobra.ExactArgs(2),
	}, func(u *api.ServerUpdate, args []string) error {
		weight, err := strconv.Atoi(args[1])
		if err != nil {
			return usageError{fmt.Errorf("weight %q: allowed: 0 to 65535", args[1])}
		}
		u.Weight = &weight
		return nil
	}, printUpdated)
}

func newHaltCommand() *cobra.Command {
	return newUpdateCommand(&cobra.Command{
		Use:   "halt SERVER",
		Short: "Cut a server's connections at once, and let no new ones to it",
		Long: `Let no new connections to a server, and cut those that there are: clients get a reset,
with NAT the server too. golb activate undoes it.` + updateHelp,
		Example: "  golb halt 192.0.2.11",
		Args:    cobra.ExactArgs(1),
	}, func(u *api.ServerUpdate, _ []string) error {
		u.State = lb.StateHalt
		return nil
	}, printUpdated)
}

func newActivateCommand() *cobra.Command {
	return newUpdateCommand(&cobra.Command{
		Use:     "activate SERVER",
		Short:   "Let a server that is drained or halted have new connections again",
		Long:    "Let a server have new connections again, as its weight says." + updateHelp,
		Example: "  golb activate 192.0.2.11",
		Args:    cobra.ExactArgs(1),
	}, func(u *api.ServerUpdate, _ []string) error {
		u.State = lb.StateActive
		return nil
	}, printUpdated)
}

// newUpdateCommand makes a command that updates servers, and then shows them.
func newUpdateCommand(cmd *cobra.Command, update func(u *api.ServerUpdate, args []string) error, show shower) *cobra.Command {
	client, u := api.Client{}, api.ServerUpdate{}
	bindSocket(cmd, &client.Path)
	cmd.Flags().StringVar(&u.Service, "service", "", "the only service that is meant, by `name`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		u.Server = args[0]
		if err := update(&u, args); err != nil {
			return err
		}
		done, err := client.UpdateServers(cmd.Context(), u)
		if err != nil {
			return err
		}
		return show(cmd.Context(), cmd.OutOrStdout(), &client, done.Services)
	}
	return cmd
}

// shower shows the servers that were updated.
type shower func(ctx context.Context, w io.Writer, client *api.Client, of []lb.ServiceStats) error

func printUpdated(_ context.Context, w io.Writer, _ *api.Client, of []lb.ServiceStats) error {
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
has closed is left for two minutes, since the server may still answer.` + updateHelp,
		Example: "  golb drain 192.0.2.11 --within 10m --wait",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.DurationVar(&within, "within", 0, "cut what is left after this `time`, as 10m")
	flags.BoolVar(&wait, "wait", false, "wait until no connection is left, and tell how many are")
	return newUpdateCommand(cmd, func(u *api.ServerUpdate, _ []string) error {
		u.State = lb.StateDrain
		if flags.Changed("within") {
			u.Within = within.String()
		}
		return nil
	}, func(ctx context.Context, w io.Writer, client *api.Client, of []lb.ServiceStats) error {
		if wait {
			return waitDrained(ctx, w, client, of)
		}
		return printServices(w, of)
	})
}

// waitDrained tells how many connections servers have left until none has any. One
// that is not draining any more is not waited for.
func waitDrained(ctx context.Context, w io.Writer, client *api.Client, of []lb.ServiceStats) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := left{-1, -1}
	for {
		l, err := client.Stats(ctx)
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
func leftOn(now, of []lb.ServiceStats) (n left) {
	type key struct{ service, server string }
	meant := map[key]bool{}
	for _, v := range of {
		for _, r := range v.Servers {
			meant[key{v.Name, r.Name}] = true
		}
	}
	for _, v := range now {
		for _, r := range v.Servers {
			if meant[key{v.Name, r.Name}] && r.State == lb.StateDrain {
				n.all += r.Active + r.Inactive
				n.active += r.Active
			}
		}
	}
	return n
}
