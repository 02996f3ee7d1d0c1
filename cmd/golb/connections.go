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

// tableQuery is what of the connection table a command is about.
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
its state and the seconds until it is dropped if nothing comes.

--delete ends them. A client's next segment is then answered by a reset; a SYN
starts a connection anew.`,
		Example: `  golb connections --client 203.0.113.0/24
  golb connections --server 192.0.2.11 --count
  golb connections --client 203.0.113.7 --delete`,
	}, &tableQuery{})
}

func newTemplatesCommand() *cobra.Command {
	return newTableCommand(&cobra.Command{
		Use:   "templates",
		Short: "List, count or end the persistence of clients of the running golb",
		Long: `List the persistence templates of the golb that runs on this host: which client, or
network of clients, sticks to which server, and for how many seconds more after its
last new connection. A template of a service by mark shows the mark for a VIP; one of
engine sip shows a hash of the Call-ID for a client.

--delete ends them: such a client's next connection is scheduled anew. Connections
that there are go on.`,
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
	f.StringVar(&e.filter.Protocol, "protocol", "", "only of this `protocol`: tcp, udp or sctp")
	f.StringVar(&e.filter.Client, "client", "", "only of this `address` or prefix")
	f.StringVar(&e.filter.VIP, "vip", "", "only of this `address` or address:port")
	f.StringVar(&e.filter.Server, "server", "", "only of this `address` or address:port")
	f.StringVar(&e.filter.Service, "service", "", "only of this service, by `name`")
	f.BoolVar(&e.count, "count", false, "print how many there are")
	f.BoolVar(&e.remove, "delete", false, "end them, and print how many")
	f.BoolVar(&e.all, "all", false, "with --delete and nothing else: end all")
	f.BoolVar(&e.asJSON, "json", false, "print an object a line as JSON")
	return cmd
}

func (e *tableQuery) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	every := e.filter == api.Filter{Templates: e.filter.Templates}
	switch {
	case e.count && e.remove, e.count && e.asJSON, e.remove && e.asJSON:
		return usageError{errors.New("--count, --delete, --json: one of them")}
	case e.all && (!e.remove || !every):
		return usageError{errors.New("--all: with --delete only, and with nothing that says which")}
	case e.remove && every && !e.all:
		return usageError{errors.New("--delete: say which, or --all")}
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

// protocolOf is "ip" for a template of a mark.
func protocolOf(c *lb.Connection) string {
	if c.Protocol == 0 {
		return "ip"
	}
	return c.Protocol.String()
}

// clientOf is address and port; of a template a prefix, or a hash of the Call-ID.
func clientOf(c *lb.Connection) string {
	switch {
	case c.Call != "":
		return c.Call
	case c.Template:
		return c.Clients.String()
	}
	return c.Client.String()
}

// vipOf is address and port, or a mark.
func vipOf(c *lb.Connection) string {
	if c.Mark != 0 {
		return fmt.Sprintf("mark %d", c.Mark)
	}
	return c.VIP.String()
}
