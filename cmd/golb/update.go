package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

// newUpdateCommands returns the commands that change a server of the running golb.
func newUpdateCommands() []*cobra.Command {
	return []*cobra.Command{newWeightCommand(), newDrainCommand(), newHaltCommand(), newActivateCommand()}
}

const updateHelp = `

SERVER is a server's name, its address, or address:port. The command changes it in
every service that has it, or in the one that --service names. Where one of several
servers is refused, the others are changed, and the exit code is 1.`

func newWeightCommand() *cobra.Command {
	cmd := newUpdateCommand(&cobra.Command{
		Use:   "weight SERVER WEIGHT",
		Short: "Change the weight of a server of the running golb",
		Long: `Change a server's share of new connections: 0 to 65535, 0 for none. A reload keeps
it, unless the config has a new weight for the server.` + updateHelp,
		Example: "  golb weight 192.0.2.11 3",
		Args:    needs("SERVER", "WEIGHT"),
	}, func(u *api.ServerUpdate, args []string) ([]string, error) {
		weight, err := strconv.ParseUint(args[1], 10, 16)
		if err != nil {
			return nil, usageError{fmt.Errorf("weight %q: allowed: 0 to 65535", args[1])}
		}
		u.Weight = new(int(weight))
		return args[:1], nil
	}, printUpdated)
	// A negative number looks like a flag.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "" && strings.Trim(unknown.GetSpecifiedShortnames(), "0123456789") == "" {
			return fmt.Errorf("weight -%s: allowed: 0 to 65535", unknown.GetSpecifiedShortnames())
		}
		return err
	})
	return cmd
}

// needs refuses a command line that lacks one of the arguments, or has more.
func needs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s must be given", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("%q: one argument too many", args[len(names)])
		}
		return nil
	}
}

// needsServers refuses a command line without a server.
func needsServers(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("SERVER must be given")
	}
	return nil
}

func newHaltCommand() *cobra.Command {
	return newUpdateCommand(&cobra.Command{
		Use:   "halt SERVER ...",
		Short: "Cut a server's connections at once, and give it no new ones",
		Long: `Give a server no new connections, and cut those that it has: clients get a reset,
with NAT the server too. golb activate undoes it.` + updateHelp,
		Example: "  golb halt 192.0.2.11",
		Args:    needsServers,
	}, func(u *api.ServerUpdate, args []string) ([]string, error) {
		u.State = lb.StateHalt
		return args, nil
	}, printUpdated)
}

func newActivateCommand() *cobra.Command {
	return newUpdateCommand(&cobra.Command{
		Use:     "activate SERVER ...",
		Short:   "Give a drained or halted server new connections again",
		Long:    "Give a drained or halted server new connections again, in proportion to its weight." + updateHelp,
		Example: "  golb activate 192.0.2.11",
		Args:    needsServers,
	}, func(u *api.ServerUpdate, args []string) ([]string, error) {
		u.State = lb.StateActive
		return args, nil
	}, printUpdated)
}

// newUpdateCommand makes a command that updates servers, and then shows them. update says
// how, and which servers the arguments name.
func newUpdateCommand(cmd *cobra.Command, update func(u *api.ServerUpdate, args []string) ([]string, error), show showUpdated) *cobra.Command {
	client, u := api.Client{}, api.ServerUpdate{}
	bindSocket(cmd, &client.Path)
	cmd.Flags().StringVar(&u.Service, "service", "", "change the server in the service of this `name` only")
	must(cmd.RegisterFlagCompletionFunc("service", completion(&client, serviceNames)))
	cmd.ValidArgsFunction = completion(&client, serverNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		servers, err := update(&u, args)
		if err != nil {
			return err
		}
		var updated []lb.ServiceStats
		var failed []error
		for _, u.Server = range servers {
			done, err := client.UpdateServers(cmd.Context(), u)
			failed = append(failed, err)
			updated = append(updated, done.Services...)
		}
		if len(updated) > 0 {
			failed = append(failed, show(cmd.Context(), cmd.OutOrStdout(), &client, updated))
		}
		return errors.Join(failed...)
	}
	return cmd
}

// showUpdated shows the servers that an update changed.
type showUpdated func(ctx context.Context, w io.Writer, client *api.Client, updated []lb.ServiceStats) error

func printUpdated(_ context.Context, w io.Writer, _ *api.Client, updated []lb.ServiceStats) error {
	return printServices(w, updated)
}

func newDrainCommand() *cobra.Command {
	var within time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain SERVER ...",
		Short: "Give a server no new connections, and let those that it has finish",
		Long: `Give a server no new connections; those that it has go on. --within is the time for
them to finish: then the rest is cut, as by golb halt. --wait prints the number of
connections that are left, at most once a second and when it changes, until none is
left. A connection that the client has closed counts for two more minutes, since the
server may still answer.` + updateHelp,
		Example: "  golb drain 192.0.2.11 --within 10m --wait",
		Args:    needsServers,
	}
	flags := cmd.Flags()
	flags.DurationVar(&within, "within", 0, "cut the connections that are left after this `time`, as 10m")
	flags.BoolVar(&wait, "wait", false, "wait until no connection is left, and print how many are")
	return newUpdateCommand(cmd, func(u *api.ServerUpdate, args []string) ([]string, error) {
		u.State = lb.StateDrain
		if flags.Changed("within") {
			u.Within = within.String()
		}
		return args, nil
	}, func(ctx context.Context, w io.Writer, client *api.Client, updated []lb.ServiceStats) error {
		if wait {
			return waitDrained(ctx, w, client, updated)
		}
		return printServices(w, updated)
	})
}

// waitDrained prints the number of connections that the servers have left until it is 0.
// A server that does not drain any more, by another command, is not waited for.
func waitDrained(ctx context.Context, w io.Writer, client *api.Client, updated []lb.ServiceStats) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	printed := connectionCount{-1, -1}
	for {
		stats, err := client.Stats(ctx)
		if err != nil {
			return err
		}
		if n := countDraining(stats.Services, updated); n != printed {
			fmt.Fprintf(w, "%d left, %d of them active\n", n.all, n.active)
			printed = n
		}
		if printed.all == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// connectionCount is a number of connections, and how many of them are active.
type connectionCount struct{ all, active int64 }

// countDraining counts the connections that the updated servers have now, where they drain.
func countDraining(now, updated []lb.ServiceStats) (n connectionCount) {
	servers := map[lb.ServerRef]bool{}
	for _, v := range updated {
		for _, r := range v.Servers {
			servers[lb.ServerRef{Service: v.Name, Server: r.Name}] = true
		}
	}
	for _, v := range now {
		for _, r := range v.Servers {
			if servers[lb.ServerRef{Service: v.Name, Server: r.Name}] && r.State == lb.StateDrain {
				n.all += r.Active + r.Inactive
				n.active += r.Active
			}
		}
	}
	return n
}
