package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb/api"
)

func newListCommand() *cobra.Command {
	return newReportCommand(&cobra.Command{
		Use:   "list",
		Short: "List the services and servers of the running golb, and what they count",
		Long: `Ask the golb that runs on this host for its services: what each takes, its
scheduler, and of each server how packets reach it, its weight, its active and
other connections and persistence templates now, and the connections, packets and
bytes of clients that it got since golb started.`,
		Example: `  golb list
  golb list --json | jq '.drops'`,
	}, "print all that is counted as JSON, dropped frames by reason too", (*api.Client).Services, func(w io.Writer, l api.Services) error {
		return printServices(w, l.Services)
	})
}

func printServices(w io.Writer, services []api.Listed) error {
	for i, v := range services {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, titleOf(&v))
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  server\tmethod\tweight\tis\tactive\tinactive\ttemplates\tconnections\tpackets\tbytes")
		for _, r := range v.Servers {
			printServer(tw, &r, "")
		}
		if v.Fallback != nil {
			printServer(tw, v.Fallback, " (fallback)")
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// titleOf is a service's name, what it takes where the name does not say so, and how
// it schedules.
func titleOf(v *api.Listed) string {
	s := v.Name
	if takes := strings.Join(v.Takes, "; "); takes != v.Name {
		s += ": " + takes
	}
	if v.Mark != 0 {
		s += fmt.Sprintf(", mark %d", v.Mark)
	}
	s += ", " + v.Scheduler
	if !v.Up {
		s += ", below its quorum"
	}
	return s
}

func printServer(w io.Writer, r *api.ListedServer, note string) {
	fmt.Fprintf(w, "  %s%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Name, note, r.Method, r.Weight, condition(r.Up, r.State),
		r.Active, r.Inactive, r.Templates, r.Connections, r.InPackets, r.InBytes)
}
