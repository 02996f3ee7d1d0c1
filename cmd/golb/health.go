package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

func newHealthCommand() *cobra.Command {
	return newReportCommand(&cobra.Command{
		Use:   "health",
		Short: "Show which servers of the running golb are up, and why others are down",
		Long: `Show the health of the servers of the golb that runs on this host: up or down, for
how long and why, weight, the time since the last check and how long it took, the
last results, the latest on the right (+ passed, - failed, ? could not be made), and
the time until the next check.

It asks golb's socket, which root and golb's user may do; curl can too:
  curl --unix-socket /run/golb.sock http://golb/v1/health`,
		Example: `  golb health
  golb health --json | jq '.services[].servers[] | select(.up | not)'`,
	}, "print it all as JSON", (*api.Client).Health, func(w io.Writer, h api.Health) error {
		return printHealth(w, h, time.Now())
	})
}

// newReportCommand makes a command that asks the running golb for a report, and prints it
// as text or, with --json, whose help is jsonHelp, as JSON.
func newReportCommand[T any](cmd *cobra.Command, jsonHelp string, ask func(*api.Client, context.Context) (T, error), print func(io.Writer, T) error) *cobra.Command {
	var client api.Client
	var raw bool
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		answer, err := ask(&client, cmd.Context())
		if err != nil {
			return err
		}
		if raw {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(answer)
		}
		return print(cmd.OutOrStdout(), answer)
	}
	bindSocket(cmd, &client.Path)
	cmd.Flags().BoolVar(&raw, "json", false, jsonHelp)
	return cmd
}

// bindSocket adds the flag for the path of golb's socket.
func bindSocket(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "socket", api.DefaultPath(), "`path` of the running golb's socket; the variable GOLB_SOCKET sets the default")
}

// printHealth prints a table per service, with the reason below each server that fails.
func printHealth(w io.Writer, h api.Health, now time.Time) error {
	for i, v := range h.Services {
		if i > 0 {
			fmt.Fprintln(w)
		}
		up := 0
		for _, r := range v.Servers {
			if r.Up {
				up++
			}
		}
		down := ""
		if !v.Up {
			down = "; " + v.Reason
		}
		fmt.Fprintf(w, "%s: %d of %s up%s\n", v.Name, up, count(len(v.Servers), "server"), down)
		printConflicts(w, v.Conflicts)
		if err := printServers(w, v.Servers, now); err != nil {
			return err
		}
	}
	return nil
}

// printConflicts prints who else answers for a service's VIPs.
func printConflicts(w io.Writer, conflicts []lb.VIPConflict) {
	for _, c := range conflicts {
		fmt.Fprintf(w, "  VIP %s on %s: %s answers for it too, since %s: %s\n",
			c.VIP, c.Interface, c.Who(), c.Since.Format(time.DateTime), c.Remedy)
	}
}

func printServers(w io.Writer, servers []lb.ServerHealth, now time.Time) error {
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  server\tis\tfor\tweight\tchecked\ttook\tlast results\tnext\tcheck")
	for _, r := range servers {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Name, condition(r.Up, r.State, r.Idle), ago(now, r.Since), r.Weight,
			since(now, r.Check.Checked), took(&r.Check), resultSigns(r.Check.Recent), next(now, &r.Check), r.Check.Description)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	fmt.Fprintln(w, lines[0])
	for i, r := range servers {
		fmt.Fprintln(w, lines[i+1])
		switch {
		case r.Reason != "":
			fmt.Fprintf(w, "    %s\n", r.Reason)
		case r.Idle != "":
			fmt.Fprintf(w, "    gets no new connections: %s\n", r.Idle)
		}
		if r.Reason == "" && r.Check.Reason != "" {
			fmt.Fprintf(w, "    failed %d in a row: %s\n", r.Check.Failures, r.Check.Reason)
		}
		if r.Check.Remark != "" {
			fmt.Fprintf(w, "    %s\n", r.Check.Remark)
		}
		if r.Check.NotTried > 0 {
			fmt.Fprintf(w, "    %s could not be made on this host: %s\n", count(r.Check.NotTried, "check"), r.Check.Trouble)
		}
		for _, c := range r.MoreChecks {
			fmt.Fprintf(w, "    %s\n", checkLine(now, &c, "and "+c.Description, r.Reason))
		}
		if r.Path != nil {
			fmt.Fprintf(w, "    %s\n", checkLine(now, r.Path, "true path", r.Reason))
		}
		if f := r.Failed; f != (lb.FailedConnections{}) {
			fmt.Fprintf(w, "    failed connections so far: %d of %d: %d not answered, %d refused, %d unreachable\n",
				f.Sum(), f.Sum()+r.Established, f.Unanswered, f.Refused, f.Unreachable)
		}
		if r.Diagnosis != "" {
			fmt.Fprintf(w, "    %s\n", r.Diagnosis)
		}
		if r.Agent != nil {
			fmt.Fprintf(w, "    %s\n", agentLine(now, r.Agent))
		}
	}
	return nil
}

// checkLine returns the result of a check beside the first, with its reason unless that has
// been printed already.
func checkLine(now time.Time, c *lb.CheckHealth, name, printed string) string {
	s := fmt.Sprintf("%s: %s, %s (%s), last results %s", name, c.State, took(c), since(now, c.Checked), resultSigns(c.Recent))
	if c.Reason != "" && !strings.HasSuffix(printed, c.Reason) {
		s += ": " + c.Reason
	}
	if c.Remark != "" {
		s += ": " + c.Remark
	}
	if c.NotTried > 0 {
		s += fmt.Sprintf("; %s could not be made on this host: %s", count(c.NotTried, "check"), c.Trouble)
	}
	return s
}

// agentLine returns an agent's last report, and the reason where it does not answer.
func agentLine(now time.Time, a *lb.AgentHealth) string {
	s := fmt.Sprintf("agent %s: ", a.Check.Description)
	if a.Reported.IsZero() {
		s += "nothing so far"
	} else {
		s += fmt.Sprintf("%s (%s ago)", a.Report, ago(now, a.Reported))
	}
	if a.Check.Reason != "" {
		s += "; " + strings.TrimPrefix(a.Check.Reason, "agent: ")
	}
	return s
}

// condition is up or down, and the state that an operator has set where it is not active, or
// that the server gets no new connections.
func condition(up bool, state lb.ServerState, idle string) string {
	s := "down"
	if up {
		s = "up"
	}
	switch {
	case state != lb.StateActive:
		s += "," + string(state)
	case idle != "":
		s += ",idle"
	}
	return s
}

// ago is the time from t to now; "-" where t is not known.
func ago(now time.Time, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return brief(now.Sub(t))
}

// since is ago for a time of the past.
func since(now time.Time, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return ago(now, t) + " ago"
}

// brief is a duration in one or two units.
func brief(d time.Duration) string {
	switch d = max(d, 0); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%.1fs", math.Floor(d.Seconds()*10)/10)
}

func took(c *lb.CheckHealth) string {
	switch {
	case c.Hung:
		return "hangs"
	case c.Checked.IsZero():
		return "-"
	}
	return fmt.Sprintf("%.1f ms", float64(c.Latency.Microseconds())/1000)
}

// resultSigns returns a character per result.
func resultSigns(results []lb.CheckResult) string {
	if len(results) == 0 {
		return "none"
	}
	var b strings.Builder
	for _, r := range results {
		switch {
		case r.NotTried:
			b.WriteByte('?')
		case r.Up:
			b.WriteByte('+')
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

func next(now time.Time, c *lb.CheckHealth) string {
	switch {
	case c.Next.IsZero():
		return "-"
	case c.Next.Before(now):
		return "running"
	}
	return brief(c.Next.Sub(now))
}
