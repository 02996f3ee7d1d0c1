package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
)

func newCheckCommand() *cobra.Command {
	host, strict := true, false
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find every mistake in a config",
		Long: `Read a config as run would, and print every mistake in it, one a line:

  file:line:column: path: "value": problem; allowed: the values that are

Without FILE it is /etc/golb.yaml. The config must also suit this host, as for run: no VIP
and no server is an address of the host, and the programs of checks and alerts exist. What
the golb that runs here holds is no mistake. What run starts without and waits for, such
as an interface or a route, is a warning, and so is what hardly anybody means. Nothing is
sent and nothing is changed.`,
		Example: `  golb check golb.yaml
  golb check --host=false golb.yaml    # for another host`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(args, "")
			if err != nil {
				return err
			}
			var checks []func(*lb.Config) error
			if host {
				checks = append(checks, (*lb.Config).ValidateHost)
			}
			doc, err := conf.Read(file, checks...)
			if err != nil {
				return err
			}
			if err := warn(cmd, file, &doc.Config, host, strict); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", file, summary(&doc.Config))
			return err
		},
	}
	cmd.Flags().BoolVar(&host, "host", host, "look at this host's interfaces and addresses too")
	cmd.Flags().BoolVar(&strict, "strict", strict, "fail where there are warnings")
	return cmd
}

// warn prints the warnings, those about this host too with host; with strict it fails where
// there are any.
func warn(cmd *cobra.Command, file string, cfg *lb.Config, host, strict bool) error {
	list := cfg.Warnings()
	if host {
		more, err := cfg.HostWarnings()
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	for _, w := range list {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", file, w)
	}
	if strict && len(list) > 0 {
		return fmt.Errorf("%s: %s", file, count(len(list), "warning"))
	}
	return nil
}

// summary counts what a config has.
func summary(c *lb.Config) string {
	return fmt.Sprintf("%s, %s, on %s", count(len(c.Services), "service"), count(servers(c), "server"), strings.Join(c.Interfaces, ", "))
}

// servers returns the number of servers of all services.
func servers(c *lb.Config) (n int) {
	for i := range c.Services {
		n += len(c.Services[i].Servers)
	}
	return n
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
