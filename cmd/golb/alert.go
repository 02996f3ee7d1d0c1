package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
)

// alertTime bounds the messages of a test to one recipient.
const alertTime = time.Minute

func newAlertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alert",
		Short: "Try the alerts of a config",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAlertTestCommand())
	return cmd
}

func newAlertTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [FILE]",
		Short: "Send one message of each kind to every recipient",
		Long: `Send one made-up message of each kind (a server or service that is down or up, a VIP
conflict, …) to every recipient of the alerts of a config, /etc/golb.yaml without FILE, from this host and as run
would, and print for each recipient whether that went well. Subjects say that it is a
test. The golb that runs here, if any, is not asked and not changed.

The exit code is 1 if a message could not be sent, or the config has no recipient.`,
		Example: `  golb alert test golb.yaml`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(args, "")
			if err != nil {
				return err
			}
			doc, err := conf.Read(file)
			if err != nil {
				return err
			}
			list := doc.Config.AlertRecipients()
			if len(list) == 0 {
				return fmt.Errorf("%s: alerts: no recipient", file)
			}
			failed := 0
			for i, result := range testAlerts(cmd.Context(), list) {
				r, what := &list[i], ""
				if r.Service != "" {
					what = " (alerts of " + r.Service + ")"
				}
				if result.err != nil {
					failed++
					fmt.Fprintf(cmd.OutOrStdout(), "%s%s: failed after %s: %v\n", r.Name, what, count(result.sent, "message"), result.err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s%s: %s sent\n", r.Name, what, count(result.sent, "message"))
			}
			if failed > 0 {
				return errors.New(count(failed, "recipient") + " of " + fmt.Sprint(len(list)) + " not reached")
			}
			return nil
		},
	}
}

type alertResult struct {
	sent int
	err  error
}

// testAlerts tests all recipients at the same time; the results are in their order.
func testAlerts(ctx context.Context, list []lb.AlertRecipient) []alertResult {
	results := make([]alertResult, len(list))
	var all sync.WaitGroup
	for i := range list {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, alertTime)
			defer cancel()
			results[i].sent, results[i].err = list[i].Test(ctx)
		})
	}
	all.Wait()
	return results
}
