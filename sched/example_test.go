package sched_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/golb/golb/sched"
)

// addServers makes a server of each weight, and tells s.
func addServers(s sched.Scheduler, weights ...int32) []*sched.Server {
	var (
		slab sched.Slab
		list []*sched.Server
	)
	for i, weight := range weights {
		server := &sched.Server{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}).As16(), Port: 80}
		slab.Init(server)
		server.SetWeight(weight)
		list = slices.Concat([]*sched.Server{server}, list) // newest first; a new list each time
		s.Added(list, server)
	}
	return list
}

func flowFrom(client string, port uint16, hash uint32) *sched.Flow {
	return &sched.Flow{
		Src: netip.MustParseAddr(client).As16(), SrcPort: port,
		Dst: netip.MustParseAddr("203.0.113.1").As16(), DstPort: 80,
		Proto: 6, Hash: hash,
	}
}

// Six connections of one client, by least connections.
func Example() {
	s, err := sched.New("wlc", sched.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	list := addServers(s, 1, 2)
	for port := range uint16(6) {
		if server := s.Pick(flowFrom("192.0.2.1", 40000+port, 0)); server != nil {
			server.AddConnections(1, 0)
		}
	}
	for _, server := range list {
		fmt.Println(netip.AddrFrom16(server.Addr).Unmap(), "weight", server.Weight(), "connections", server.Active())
	}
	// Output:
	// 10.0.0.2 weight 2 connections 4
	// 10.0.0.1 weight 1 connections 2
}

// hashScheduler is a scheduler that New does not know: the hash of the flow names the server,
// and where that is not eligible, the next one takes it.
type hashScheduler struct {
	list atomic.Pointer[[]*sched.Server]
}

func (*hashScheduler) Name() string                                    { return "hash" }
func (h *hashScheduler) Added(list []*sched.Server, _ *sched.Server)   { h.list.Store(&list) }
func (h *hashScheduler) Removed(list []*sched.Server, _ *sched.Server) { h.list.Store(&list) }
func (*hashScheduler) Edited([]*sched.Server, *sched.Server)           {} // Eligible reads the weight

func (h *hashScheduler) Pick(f *sched.Flow) *sched.Server {
	p := h.list.Load()
	if p == nil {
		return nil
	}
	list := *p
	for i := range list {
		if s := list[(uint(f.Hash)+uint(i))%uint(len(list))]; s.Eligible() {
			return s
		}
	}
	return nil
}

// A scheduler of your own.
func ExampleScheduler() {
	var s sched.Scheduler = new(hashScheduler)
	list := addServers(s, 1, 1, 1)
	list[1].SetOverloaded(true)
	for hash := range uint32(4) {
		server := s.Pick(flowFrom("192.0.2.1", 40000, hash))
		fmt.Println(hash, netip.AddrFrom16(server.Addr).Unmap())
	}
	// Output:
	// 0 10.0.0.3
	// 1 10.0.0.1
	// 2 10.0.0.1
	// 3 10.0.0.3
}
