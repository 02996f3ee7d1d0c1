package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

func newListCommand() *cobra.Command {
	return newReportCommand(&cobra.Command{
		Use:   "list",
		Short: "List the services and servers of the running golb, with their counters",
		Long: `List the services of the golb that runs on this host, each with the packets that
it takes and its scheduler. For each server: method, weight, state, the active and
inactive connections and persistence templates of now, and the connections, and
packets and bytes from clients, since golb started. The last line counts the frames
that golb did not forward, by reason; there is none where it forwarded all.`,
		Example: `  golb list
  golb list --json | jq '.drops'`,
	}, "print all counters as JSON", (*api.Client).Stats, func(w io.Writer, st lb.Stats) error {
		if err := printServices(w, st.Services); err != nil {
			return err
		}
		printDrops(w, st.Drops)
		return nil
	})
}

func printServices(w io.Writer, services []lb.ServiceStats) error {
	for i, v := range services {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, serviceTitle(&v))
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

// serviceTitle returns a service's name, its matches where the name does not tell them, and
// its scheduler.
func serviceTitle(v *lb.ServiceStats) string {
	s := v.Name
	matches := make([]string, len(v.Match))
	for i, m := range v.Match {
		matches[i] = m.String()
	}
	if match := strings.Join(matches, "; "); match != v.Name {
		s += ": " + match
	}
	if v.Mark != 0 {
		s += fmt.Sprintf(", mark %d", v.Mark)
	}
	s += ", " + v.Scheduler
	if !v.Up {
		s += ", below its quorum"
	}
	if v.Denied > 0 {
		s += fmt.Sprintf(", %d packets denied", v.Denied)
	}
	return s
}

// printDrops prints the frames that were not forwarded, the most frequent reason first.
func printDrops(w io.Writer, drops lb.Drops) {
	if len(drops) == 0 {
		return
	}
	reasons := slices.SortedFunc(maps.Keys(drops), func(a, b lb.Reason) int {
		return cmp.Or(cmp.Compare(drops[b], drops[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%s %d", r, drops[r])
	}
	fmt.Fprintf(w, "\nframes not forwarded: %s\n", strings.Join(parts, ", "))
}

func printServer(w io.Writer, r *lb.ServerStats, note string) {
	fmt.Fprintf(w, "  %s%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Name, note, r.Method, r.Weight, condition(r.Up, r.State),
		r.Active, r.Inactive, r.Templates, r.Connections, r.InPackets, r.InBytes)
}
