// Package lbtest is for testing with package lb: an Ethernet segment in memory with
// a clock that tests turn, and a builder of packets. Together they run balancers,
// clients and servers in one goroutine's order, the same each time and faster than
// real time. [Start] and [Wire.Env] make the usual case short: one balancer, and hosts
// that only receive.
//
// Package lab below it makes real networks, of network namespaces.
package lbtest
