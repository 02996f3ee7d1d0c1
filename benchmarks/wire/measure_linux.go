package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/golb/golb/benchmarks/wire/internal/load"
	"github.com/golb/golb/benchmarks/wire/internal/report"
	"github.com/golb/golb/lb/lbtest/lab"
)

// bench measures rows into a table.
type bench struct {
	options
	dir   string
	table *report.Table
	// frameCost is the processor time of sending a frame that is dropped on arrival, as last measured.
	frameCost time.Duration
	// others is the processor time that other programs took while something was measured, all what there was.
	others, all time.Duration
}

const (
	// warmUp is how long a load runs before it is measured, at most.
	warmUp = 200 * time.Millisecond
	// patience is how long to wait for what should come at once.
	patience = 30 * time.Second
)

func measureAll(ctx context.Context, o options) error {
	done, code, err := lab.Reexec()
	if done {
		os.Exit(code)
	}
	if err != nil {
		return err
	}
	command, profiled := goRun(os.Args[1:])
	if !profiled {
		fmt.Fprintf(os.Stderr, "built without -pgo %s: golb is slower here than its releases\n", profile)
	}
	b := &bench{options: o, table: &report.Table{Columns: columns()}}
	if b.dir, err = os.MkdirTemp("", "wire"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.rounds(ctx); err != nil {
		return err
	}
	return outcome{
		options: o, table: b.table, machine: machine(), others: float64(b.others) / float64(max(b.all, 1)), when: time.Now(),
		command: command,
	}.write(os.Stdout)
}

// rounds measures everything once after the other, and that several times over, so that a bad moment of the machine spoils a
// round of all rows rather than all rounds of one.
func (b *bench) rounds(ctx context.Context) error {
	rows := allRows()
	for _, r := range rows {
		if b.Rows.MatchString(r.name) {
			b.table.Rows = append(b.table.Rows, &report.Row{Name: r.name, Note: r.note, Missing: missing(r)})
		}
	}
	for i := range b.Rounds {
		for _, metric := range metrics {
			if !b.Metrics.MatchString(metric) {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", i+1, b.Rounds, metric)
			for _, r := range rows {
				to := b.table.Row(r.name)
				if to == nil || to.Missing != "" || !r.measures(metric) {
					continue
				}
				if err := b.measure(ctx, r, to, metric); err != nil {
					return fmt.Errorf("%s: %s: %w", metric, r.name, err)
				}
			}
		}
	}
	b.derive()
	return nil
}

// derive adds what needs another row: the processor time that a balancer adds to a connection.
func (b *bench) derive() {
	base := b.table.Median(rowDirect, keyConnectionLab)
	for _, r := range b.table.Rows {
		if more := r.Median(keyConnectionLab) - base; r.Name != rowDirect && !math.IsNaN(more) {
			r.Add(keyConnectionMore, more)
		}
	}
}

func (b *bench) measure(ctx context.Context, r row, to *report.Row, metric string) error {
	switch metric {
	case metricPackets:
		return b.packets(ctx, r, to)
	case metricWorkers:
		return b.workers(ctx, r, to)
	}
	return b.tcp(ctx, r, to, metric)
}

// tcp measures one of the metrics of TCP, in a lab with one arm.
func (b *bench) tcp(ctx context.Context, r row, to *report.Row, metric string) (err error) {
	s, err := newSite(1, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	mode, conns := plan(metric)
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), vip.Port())
	const threads = 2
	server, err := launchRole(ctx, s.server, order{Role: roleServer, Target: all, Mode: mode, Threads: threads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	set := setting{dir: b.dir, poll: metric == metricPolling, profile: b.profileOf(r, metric)}
	if r.name == rowReflector {
		set.workers = runtime.NumCPU()
	}
	if set.poll {
		set.workers = 1 // each keeps a processor busy
	}
	balancer, err := s.start(ctx, r, set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, balancer.stop()) }()
	if err := awaitService(ctx, s, balancer); err != nil {
		return err
	}
	client, err := launchRole(ctx, s.client, order{Role: roleClient, Target: balancer.target, Mode: mode, Conns: conns, Threads: threads})
	if err != nil {
		return err
	}
	result, used, err := b.window(ctx, client, balancer)
	if err = errors.Join(err, client.stop()); err != nil {
		return err
	}
	record(to, metric, result, used, balancer.process != nil)
	return nil
}

// plan is what clients and servers do for a metric, and over how many connections at a time.
func plan(metric string) (mode load.Mode, conns int) {
	switch metric {
	case metricDownload:
		return load.Download, 4
	case metricUpload:
		return load.Upload, 4
	case metricConnections:
		return load.Connect, 32
	case metricRequests:
		return load.Request, 32
	}
	return load.Request, 1
}

// awaitService returns when the target accepts a connection.
func awaitService(ctx context.Context, s *site, b *balancing) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := s.client.DialContext(ctx, "tcp", b.target.String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no service at %s: %w", b.target, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// window lets a client warm up and then measures.
func (b *bench) window(ctx context.Context, client *process, balancer *balancing) (result load.Result, used spent, err error) {
	if err := sleep(ctx, min(warmUp, b.Time)); err != nil {
		return result, used, err
	}
	m, err := newMeter(balancer.process)
	if err != nil {
		return result, used, err
	}
	if err := client.writeLine("begin"); err != nil {
		return result, used, err
	}
	if line, err := client.line(); err != nil || line != "begun" {
		return result, used, errors.Join(fmt.Errorf("client says %q", line), err)
	}
	before, err := m.read()
	if err = errors.Join(err, sleep(ctx, b.Time), client.writeLine("end")); err != nil {
		return result, used, err
	}
	end, err := m.read()
	if err != nil {
		return result, used, err
	}
	line, err := client.line()
	if err != nil {
		return result, used, fmt.Errorf("client: %w", err)
	}
	err = json.Unmarshal([]byte(line), &result)
	if err == nil && result.Done == 0 {
		err = fmt.Errorf("nothing got through: %s", line)
	}
	used = end.minus(before)
	b.count(used, result.Elapsed)
	return result, used, err
}

// count notes how much of the machine other programs took.
func (b *bench) count(used spent, elapsed time.Duration) {
	b.others += used.machine - used.lab
	b.all += elapsed * time.Duration(runtime.NumCPU())
}

func record(to *report.Row, metric string, r load.Result, used spent, process bool) {
	rate := float64(r.Done) / r.Elapsed.Seconds()
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	switch metric {
	case metricDownload:
		to.Add(keyDownload, rate*8/1e9)
	case metricUpload:
		to.Add(keyUpload, rate*8/1e9)
	case metricConnections:
		to.Add(keyConnections, rate)
		to.Add(keyConnectionLab, us(used.lab)/float64(r.Done))
		if process {
			to.Add(keyConnectionOwn, us(used.balancer)/float64(r.Done))
		}
	case metricRequests:
		to.Add(keyRequests, rate)
	case metricLatency:
		to.Add(keyP50, us(r.P50))
		to.Add(keyP99, us(r.P99))
	case metricPolling:
		to.Add(keyPoll50, us(r.P50))
		to.Add(keyPoll99, us(r.P99))
	}
}

func (b *bench) profileOf(r row, metric string) string {
	if b.Profile == "" {
		return ""
	}
	return filepath.Join(b.Profile, strings.ReplaceAll(r.name, " ", "-")+"-"+metric+".pprof")
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
