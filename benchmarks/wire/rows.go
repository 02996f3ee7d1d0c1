package main

import (
	"fmt"

	"github.com/golb/golb/benchmarks/wire/internal/report"
)

// The rows, by name. What is not golb's own is named by what it is compared as.
const (
	rowDirect    = "no balancer"
	rowReflector = "reflector"
	rowDSR       = "golb DSR"
	rowNAT       = "golb NAT"
	rowTUN       = "golb TUN"
	rowKernel    = "kernel forwarding"
	rowNft       = "nftables DNAT"
	rowHAProxy   = "HAProxy"
	rowNginx     = "nginx stream"
)

// The metrics: what is measured by one run.
const (
	metricPackets     = "packets"
	metricWorkers     = "workers"
	metricDownload    = "download"
	metricUpload      = "upload"
	metricConnections = "connections"
	metricRequests    = "requests"
	metricLatency     = "latency"
	metricPolling     = "polling"
)

var metrics = []string{metricPackets, metricWorkers, metricDownload, metricUpload, metricConnections, metricRequests, metricLatency, metricPolling}

// row is one way from client to servers.
type row struct {
	name string
	// returnsDirect says that servers answer clients without the balancer.
	returnsDirect bool
	// noPackets says that it passes on no UDP datagrams one by one.
	noPackets bool
	// ours says that it is golb, which can have more workers, or wait without sleeping.
	ours bool
	note string
}

func (r row) measures(metric string) bool {
	switch metric {
	case metricPackets:
		return !r.noPackets
	case metricPolling, metricWorkers:
		return r.ours
	}
	return true
}

func allRows() []row {
	return []row{
		{name: rowDirect, returnsDirect: true, noPackets: true},
		{name: rowReflector, returnsDirect: true},
		{name: rowDSR, returnsDirect: true, ours: true},
		{name: rowNAT, ours: true},
		{name: rowTUN, returnsDirect: true, ours: true, note: "the lab's kernels have no tunnel devices: a program on the server " +
			"takes packets out of their tunnels, which bounds all columns but those of 64-byte packets"},
		{name: rowKernel},
		{name: rowNft},
		{name: rowHAProxy, noPackets: true},
		{name: rowNginx, noPackets: true},
	}
}

// Keys of columns.
const (
	keyRate           = "packets"
	keyPacketCPU      = "packets.cpu"
	keyPacketOwn      = "packets.own"
	keyWorkers        = "workers"
	keyWorkersOwn     = "workers.own"
	keyDownload       = "download"
	keyUpload         = "upload"
	keyConnections    = "connections"
	keyConnectionOwn  = "connections.own"
	keyConnectionLab  = "connections.lab"
	keyConnectionMore = "connections.more"
	keyRequests       = "requests"
	keyP50, keyP99    = "latency.p50", "latency.p99"
	keyPoll50         = "polling.p50"
	keyPoll99         = "polling.p99"
)

func columns() []report.Column {
	return []report.Column{
		{Key: keyRate, Title: "64-byte packets", Unit: "1/s", Plot: true},
		{Key: keyPacketCPU, Title: "processor time a packet", Unit: "ns", Plot: true},
		{Key: keyPacketOwn, Title: "of it in the balancer's process", Unit: "ns"},
		{Key: keyWorkers, Title: "two workers", Unit: "1/s"},
		{Key: keyWorkersOwn, Title: "a packet in their process", Unit: "ns"},
		{Key: keyDownload, Title: "download", Unit: "Gbit/s", Digits: 1, Plot: true},
		{Key: keyUpload, Title: "upload", Unit: "Gbit/s", Digits: 1, Plot: true},
		{Key: keyConnections, Title: "connections", Unit: "1/s", Plot: true},
		{Key: keyConnectionMore, Title: "processor time added to a connection", Unit: "µs", Digits: 1, Plot: true},
		{Key: keyConnectionOwn, Title: "a connection in the balancer's process", Unit: "µs", Digits: 1},
		{Key: keyRequests, Title: "requests", Unit: "1/s", Plot: true},
		{Key: keyP50, Title: "p50", Unit: "µs", Digits: 1, Plot: true},
		{Key: keyP99, Title: "p99", Unit: "µs", Digits: 1},
		{Key: keyPoll50, Title: "p50 polling", Unit: "µs", Digits: 1},
		{Key: keyPoll99, Title: "p99 polling", Unit: "µs", Digits: 1},
	}
}

// goals compares what was measured with what was meant to be reached, for the rows there are.
func goals(t *report.Table) []report.Goal {
	var list []report.Goal
	ratio := func(row, base, key, what string, bound float64, atMost bool) {
		if t.Row(row) == nil || t.Row(base) == nil {
			return
		}
		list = append(list, report.Goal{
			Title: fmt.Sprintf("%s: %s beside %s", what, row, base),
			Ratio: t.Ratio(row, base, key), Bound: bound, AtMost: atMost,
		})
	}
	for _, row := range []string{rowDSR, rowNAT, rowTUN} {
		ratio(row, rowReflector, keyRate, "64-byte packets/s", 0.95, false)
		ratio(row, rowReflector, keyPacketOwn, "processor time of a 64-byte packet in the process", 1/0.95, true)
	}
	for _, key := range []string{keyDownload, keyUpload} {
		ratio(rowDSR, rowNft, key, key, 1.2, false)
		ratio(rowNAT, rowNft, key, key, 1, false)
	}
	for _, proxy := range []string{rowHAProxy, rowNginx} {
		ratio(rowDSR, proxy, keyConnections, "connections/s", 1.2, false)
		ratio(rowNAT, proxy, keyConnections, "connections/s", 1, false)
		ratio(rowDSR, proxy, keyRequests, "requests/s", 1.2, false)
		ratio(rowNAT, proxy, keyRequests, "requests/s", 1, false)
		for _, row := range []string{rowDSR, rowNAT} {
			ratio(row, proxy, keyConnectionMore, "processor time added to a connection", 0.5, true)
			ratio(row, proxy, keyConnectionOwn, "processor time of a connection in the process", 0.5, true)
		}
	}
	direct := t.Median(rowDirect, keyP50)
	for _, row := range []string{rowDSR, rowNAT} {
		if t.Row(row) == nil || t.Row(rowKernel) == nil || t.Row(rowDirect) == nil {
			continue
		}
		list = append(list, report.Goal{
			Title: fmt.Sprintf("p50 added: %s polling beside %s", row, rowKernel),
			Ratio: (t.Median(row, keyPoll50) - direct) / (t.Median(rowKernel, keyP50) - direct), Bound: 2, AtMost: true,
		})
	}
	return list
}
