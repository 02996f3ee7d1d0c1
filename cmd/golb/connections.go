package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

// tableQuery is the part of the connection table that a command is about, and what it does
// with it.
type tableQuery struct {
	client api.Client
	filter api.Filter
	count  bool
	remove bool
	all    bool
	asJSON bool
}

func newConnectionsCommand() *cobra.Command {
	return newTableCommand(&cobra.Command{
		Use:   "connections",
		Short: "List, count or end connections of the running golb",
		Long: `List the connections in the table of the golb that runs on this host, each with
its state and the seconds after which it expires if no packet comes.

--delete ends them. The client's next segment is then answered by a reset; a SYN
starts a new connection.`,
		Example: `  golb connections --client 203.0.113.0/24
  golb connections --server 192.0.2.11 --count
  golb connections --client 203.0.113.7 --delete`,
	}, &tableQuery{})
}

func newTemplatesCommand() *cobra.Command {
	return newTableCommand(&cobra.Command{
		Use:   "templates",
		Short: "List, count or end the persistence of clients of the running golb",
		Long: `List the persistence templates of the golb that runs on this host: the client, or
network of clients, its server, and the seconds after which the template expires if
the client makes no new connection. In the templates of a service with a mark the
mark stands in place of the VIP; with the engine sip a hash of the Call-ID stands in
place of the client.

--delete ends them: the client's next connection is scheduled anew. Connections that
exist go on.`,
		Example: `  golb templates --vip 192.0.2.100:80
  golb templates --server 192.0.2.11 --count
  golb templates --client 203.0.113.7 --delete`,
	}, &tableQuery{filter: api.Filter{Templates: true}})
}

func newTableCommand(cmd *cobra.Command, e *tableQuery) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return e.run(cmd) }
	bindSocket(cmd, &e.client.Path)
	f := cmd.Flags()
	f.StringVar(&e.filter.Protocol, "protocol", "", "only those of this `protocol`: tcp, udp or sctp")
	f.StringVar(&e.filter.Client, "client", "", "only those from this `address` or prefix")
	f.StringVar(&e.filter.VIP, "vip", "", "only those to this VIP, an `address` or address:port")
	f.StringVar(&e.filter.Server, "server", "", "only those on this server, an `address` or address:port")
	f.StringVar(&e.filter.Service, "service", "", "only those of the service of this `name`")
	completeFlag(cmd, "protocol", "tcp", "udp", "sctp")
	must(cmd.RegisterFlagCompletionFunc("service", completion(&e.client, serviceNames)))
	must(cmd.RegisterFlagCompletionFunc("server", completion(&e.client, serverNames)))
	f.BoolVar(&e.count, "count", false, "print their number")
	f.BoolVar(&e.remove, "delete", false, "end them, and print their number")
	f.BoolVar(&e.all, "all", false, "with --delete and no filter: end all")
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func (e *tableQuery) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	every := e.filter == api.Filter{Templates: e.filter.Templates}
	switch {
	case e.count && e.remove, e.count && e.asJSON, e.remove && e.asJSON:
		return usageError{errors.New("--count, --delete, --json: at most one of them is allowed")}
	case e.all && (!e.remove || !every):
		return usageError{errors.New("--all: allowed with --delete only, and without a filter")}
	case e.remove && every && !e.all:
		return usageError{errors.New("--delete: needs a filter, or --all")}
	case e.remove:
		n, err := e.client.DeleteConnections(ctx, e.filter)
		if err == nil {
			fmt.Fprintln(out, n)
		}
		return err
	case e.asJSON:
		enc := json.NewEncoder(out)
		var failed error
		err := e.client.Connections(ctx, e.filter, func(c lb.Connection) bool {
			failed = enc.Encode(c)
			return failed == nil
		})
		return errors.Join(failed, err)
	case e.count:
		n := 0
		err := e.client.Connections(ctx, e.filter, func(lb.Connection) bool { n++; return true })
		if err == nil {
			fmt.Fprintln(out, n)
		}
		return err
	}
	var list []lb.Connection
	if err := e.client.Connections(ctx, e.filter, func(c lb.Connection) bool { list = append(list, c); return true }); err != nil {
		return err
	}
	return printConnections(out, list)
}

func printConnections(w io.Writer, list []lb.Connection) error {
	slices.SortFunc(list, func(a, b lb.Connection) int {
		return strings.Compare(vipOf(&a)+" "+clientOf(&a), vipOf(&b)+" "+clientOf(&b))
	})
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "protocol\tclient\tVIP\tserver\tmethod\tstate\texpires\tpackets")
	for _, c := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%.0fs\t%d\n", protocolOf(&c), clientOf(&c), vipOf(&c), c.Server, c.Method, c.State,
			c.Expires.Seconds(), c.Packets)
	}
	return tw.Flush()
}

// protocolOf returns the protocol's name; "ip" for the template of a mark, which has none.
func protocolOf(c *lb.Connection) string {
	if c.Protocol == 0 {
		return "ip"
	}
	return c.Protocol.String()
}

// clientOf returns the client's address and port; for a template its prefix, or the hash of
// its Call-ID.
func clientOf(c *lb.Connection) string {
	switch {
	case c.Call != "":
		return c.Call
	case c.Template:
		return c.Clients.String()
	}
	return c.Client.String()
}

// vipOf returns the VIP's address and port, or the service and its mark.
func vipOf(c *lb.Connection) string {
	if c.Mark != 0 {
		return fmt.Sprintf("%s (mark %d)", c.Service, c.Mark)
	}
	return c.VIP.String()
}
