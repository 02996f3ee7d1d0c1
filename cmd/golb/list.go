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
packets and bytes from clients, since golb started. A service's line says how many
packets of clients came that its allow and deny keep out. A server that is up,idle gets no
new connections; golb health says why. Then how full the connection table is, and for
each interface its state, the frames received and sent, what was lost there, and its ARP
and neighbor discovery. The last line counts the frames that golb did not forward, by
reason; there is none where it forwarded all.`,
		Example: `  golb list
  golb list --json | jq '.drops'`,
	}, "print all counters as JSON", (*api.Client).Stats, func(w io.Writer, st lb.Stats) error {
		if err := printServices(w, st.Services); err != nil {
			return err
		}
		printTable(w, &st)
		for i := range st.Interfaces {
			printInterface(w, &st.Interfaces[i])
		}
		if st.NetlinkLost > 0 {
			fmt.Fprintf(w, "\nmessages of the kernel were lost, and routes read anew: %d times\n", st.NetlinkLost)
		}
		printDrops(w, st.Drops)
		if st.Trouble != "" {
			fmt.Fprintln(w, st.Trouble)
		}
		return nil
	})
}

func printServices(w io.Writer, services []lb.ServiceStats) error {
	for i, v := range services {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, serviceTitle(&v))
		printConflicts(w, v.Conflicts)
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
		s += ", " + v.Reason
	}
	if v.Denied > 0 {
		s += fmt.Sprintf(", %d packets denied", v.Denied)
	}
	return s
}

// printTable prints how full the table is, and what a full one cost.
func printTable(w io.Writer, st *lb.Stats) {
	fmt.Fprintf(w, "\nconnections: %d of %d", st.Connections, st.TableSize)
	if st.TableFull {
		fmt.Fprint(w, ", full")
	}
	if len(st.GivenUp) > 0 {
		fmt.Fprintf(w, "; ended for new ones: %s", counters(st.GivenUp))
	}
	if st.Stateless > 0 {
		fmt.Fprintf(w, "; packets forwarded without state: %d", st.Stateless)
	}
	fmt.Fprintln(w)
}

// printInterface prints how an interface is and what it counts, its losses last.
func printInterface(w io.Writer, s *lb.InterfaceStats) {
	l := &s.Link
	fmt.Fprintf(w, "%s is %s: %d frames received, %d sent; ARP and ND: %d answered, %d asked, %d announced, %s", s.Name, interfaceState(s), s.Port.Received, s.Port.Sent,
		l.RequestsAnswered+l.SolicitationsAnswered, l.RequestsSent, l.AnnouncementsSent, count(int(l.Conflicts), "conflict"))
	if lost := s.Losses(); len(lost) > 0 {
		fmt.Fprintf(w, "; lost: %s", counters(lost))
	}
	fmt.Fprintln(w)
}

// interfaceState returns the state of an interface, its name of now where that differs, its
// MAC and MTU.
func interfaceState(s *lb.InterfaceStats) string {
	if s.State == lb.InterfaceMissing {
		return string(s.State)
	}
	text := string(s.State)
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	if s.Now != s.Name {
		text += ", now named " + s.Now
	}
	return fmt.Sprintf("%s, %s, MTU %d", text, s.MAC, s.MTU)
}

// printDrops prints the frames that were not forwarded.
func printDrops(w io.Writer, drops lb.Drops) {
	if len(drops) == 0 {
		return
	}
	byName := map[string]uint64{}
	for r, n := range drops {
		byName[r.String()] = n
	}
	fmt.Fprintf(w, "frames not forwarded: %s\n", counters(byName))
}

// counters writes counters, the largest first.
func counters(byName map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(byName), func(a, b string) int {
		return cmp.Or(cmp.Compare(byName[b], byName[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, byName[name])
	}
	return strings.Join(names, ", ")
}

func printServer(w io.Writer, r *lb.ServerStats, note string) {
	fmt.Fprintf(w, "  %s%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Name, note, r.Method, r.Weight, condition(r.Up, r.State, r.Idle),
		r.Active, r.Inactive, r.Templates, r.Connections, r.InPackets, r.InBytes)
}
