package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable prints the result for people.
func (r *Result) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\taddress\tweight\trequests\tshare\tconnections\tbytes\t")
	for _, s := range r.Servers {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.1f %%\t%d\t%s\t\n", s.Name, s.Address, s.Weight, s.Requests,
			100*float64(s.Requests)/float64(max(1, r.Requests)), s.Connections, size(s.Bytes))
	}
	fmt.Fprintf(t, "all\t\t\t%d\t\t\t%d failed\t\n", r.Requests, r.Failed)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nlatency    p50 %s, p99 %s with a new connection each; p50 %s, p99 %s kept alive\n",
		us(r.P50), us(r.P99), us(r.KeptP50), us(r.KeptP99))
	r.writeTransfers(w)
	if r.Failed > 0 {
		r.writeDrops(w)
	}
	if r.Failover != nil {
		return r.writeFailover(w)
	}
	return nil
}

func (r *Result) writeTransfers(w io.Writer) {
	if r.up.bytes == 0 {
		return
	}
	fmt.Fprintf(w, "upload     %s to %s in %s: %.0f Mbit/s, SHA-256 as sent\n",
		size(r.up.bytes), r.up.server, ms(r.up.elapsed), r.UploadMbps)
	fmt.Fprintf(w, "download   %s from %s in %s: %.0f Mbit/s, SHA-256 as sent\n",
		size(r.down.bytes), r.down.server, ms(r.down.elapsed), r.DownloadMbps)
	fmt.Fprintf(w, "           of both, %s passed golb, headers included\n", size(int64(r.forwarded)))
}

func (r *Result) writeFailover(w io.Writer) error {
	f := r.Failover
	fmt.Fprintf(w, "failover   %s %s; golb noticed after %d ms; %s\n", f.Killed, f.fault.lost, f.DetectedMS, f.cost())
	fmt.Fprintf(w, "           %s; it was back in service after %d ms\n\n", f.fault.mended, f.ReturnedMS)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "requests while\tfor\t")
	for _, s := range r.plans {
		fmt.Fprintf(t, "%s\t", s.name)
	}
	fmt.Fprintln(t, "failed\tslowest\t")
	for _, p := range f.Phases {
		fmt.Fprintf(t, "%s\t%s\t", p.Name, ms(p.For))
		for _, s := range r.plans {
			fmt.Fprintf(t, "%d\t", p.Requests[s.name])
		}
		fmt.Fprintf(t, "%d\t%d ms\t\n", p.Failed, p.Slowest)
	}
	return t.Flush()
}

// cost says what the time until detection cost the clients.
func (f *Failover) cost() string {
	if f.FailedRequests == 0 {
		return "no request failed: their next SYN went to another server"
	}
	requests := "requests"
	if f.FailedRequests == 1 {
		requests = "request"
	}
	return fmt.Sprintf("%d %s failed by then, which is to be expected", f.FailedRequests, requests)
}

// writeDrops prints what golb did not forward, and why: where a failure may show.
func (r *Result) writeDrops(w io.Writer) {
	var parts []string
	for reason, n := range r.drops {
		parts = append(parts, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(parts)
	fmt.Fprintf(w, "golb did not forward: %s\n", strings.Join(parts, ", "))
}

func us(n int64) string { return fmt.Sprintf("%.2f ms", float64(n)/1000) }

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// size prints bytes in binary units.
func size(n int64) string {
	f, unit := float64(n), 0
	for f >= 1024 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + []string{"", " KiB", " MiB", " GiB", " TiB"}[unit]
}
