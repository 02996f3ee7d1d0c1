// Package dataplane forwards packets: it is what a balancer's workers run, and the state
// that they share. The control plane (package lb) makes its services and servers, chooses
// their routes and weights, and calls Expire; the data plane calls nothing of the control
// plane but the functions of Config. It opens no socket and writes no log; its time is that of
// Config.Now, but for the pace of expiry.
//
// # Words
//
//   - A service is a virtual service, a server one of its real servers (ip_vs_service,
//     ip_vs_dest). A method is how packets reach a server: DSR, NAT or TUN. A path is a
//     server's method, next hop and MTU.
//   - An entry of the table is a connection, a persistence template (IP_VS_CONN_F_TEMPLATE)
//     or an expectation, which is an FTP data connection that has not begun. Entries control
//     others: a template its connections, an FTP control connection its data connections
//     and expectations. An entry does not end before those that it controls.
//   - A key (flowKey) is a tuple of addresses, ports and protocol, as on the wire: source
//     first. A connection is found by the key of the client's packets, with NAT also by that
//     of the server's replies.
//   - A connection's number is its place in the table, and is reused; its generation
//     counts the uses. A connID has both. An indexRef is a number, and which of the two keys
//     led to it.
//   - A snapshot is the configuration as packets see it; a hop a neighbor's MAC and a port;
//     a tick a sixteenth of a second.
//   - A connection is half-open (SYN_RECV), active or inactive as ip_vs counts it, and gone
//     servers are those that left their service.
//
// # An established DSR packet's way
//
// Six files have its steps, and the calls are four deep below Worker.Handle:
//
//	worker.go    Handle                 per batch: snapshot, clock
//	prefetch.go    prefetch             per batch: forward.Parse, key, hash, index, connection
//	worker.go      forward              not parsed, or a fragment: elsewhere
//	worker.go        datagram           server; a SYN, a reply, a server that is gone: elsewhere
//	table.go           table.match      the connection that prefetch found, by its key
//	xmit.go            toServer         counters
//	track.go             update         state and timer
//	xmit.go              deliver        TTL and MTU, then forward.DSR rewrites the frame
//	txqueue.go     queueReceived
//	txqueue.go     flush                per batch: Port.Send
//
// Leaf functions are in tuple.go (flowKey.hash), index.go (bucket.matching), state.go
// (timeouts.of), servertable.go (get) and relaxed.go; merge.go merges segments before they
// are sent, where the port can send super-packets.
//
// # What leaves it, and where
//
//   - forward: fragments, which wait for or follow the first one (frags.go).
//   - datagram: ICMP errors, which belong to the connection of the packet that they quote
//     (icmp.go) or to a tunnel (tunnelerror.go); packets that the table does not have
//     (newFlow); replies of servers of method NAT (toClient in reply.go); SYNs with the tuple
//     of a connection, and servers that are gone (renew.go).
//   - newFlow: FTP data connections (expect.go); the scheduler and persistence
//     (schedule.go, persist.go, sip.go, ratelimit.go); the fallback server and page
//     (fallback.go, page.go, syncookie.go); a full table (giveup.go, stateless.go); then toServer.
//   - noService, which newFlow calls: ping (icmp.go), answers to probes (probe.go), resets of
//     connections that were cut (reset.go), packets that servers of method NAT send of
//     connections of their own (routeOut in reply.go).
//   - deliver: NAT, which reads FTP's control connections (ftp.go), and TUN (xmit.go).
//   - Handle: a frame that is not forwarded has a Reason, is counted, and may be answered
//     with a reset or an ICMP error (answer in icmp.go).
//
// # Frames
//
// Frames that Port.Recv filled belong to the port, and are valid until its next Recv: Handle
// rewrites them in place and has sent them when it returns. Frames that a worker makes itself
// are in its arena, valid until its next flush (arena.go); a function that needs several at
// once calls reserve first. Nothing keeps a frame, or a slice of one, beyond that. What
// waits, as fragments do, is copied.
//
// # Concurrency
//
// A worker runs on one thread and owns all of its fields but tasks, and its line of each
// server's counters. Workers share the table, and read the snapshot, services and servers
// without a lock; whoever changes these replaces them as a whole or writes atomics. What changes
// services and servers is called by one goroutine at a time (see Plane).
//
// A look-up takes no lock. An entry's meta word has its generation: what was read of the
// entry belongs to one connection if the generation is the same before and after. A look-up that
// finds nothing is certain only under the bucket's lock (table.find). A packet changes the
// state by compare-and-swap of meta, and writes the timer without a lock (see update).
//
// A shard's lock guards the begin and the end of its entries, their cold halves, its wheel and
// its free numbers; a bucket's lock guards changes of that bucket. A function whose name ends
// in Locked needs the lock of the shard that it is given, or that its entry is in; putLocked
// and chainLocked need that of their bucket.
//
// Lock order: expiry, ftpControl, shard, bucket. Never two buckets; a second shard only by
// TryLock (stealLocked). The locks of fragments, ftp, hopTable, probes, resetTable and cutList
// come last: no other is taken under them. Hooks.OnConnection may run under a shard's lock.
//
// # Where to look
//
//   - the table: table.go (entries), index.go, tuple.go, hash.go, free.go (numbers), wheel.go (timers),
//     lifecycle.go (end of entries), expire.go, audit.go (its invariants, as code)
//   - protocol states: track.go, state.go (TCP), sctp.go
//   - configuration: plane.go, snapshot.go, matcher.go (which service), service.go, server.go,
//     servertable.go, interner.go
//   - next hops of replies: hops.go; tasks of other goroutines for a worker: task.go
//   - what the control plane reads: entries.go, failures.go, fulltable.go, reason.go
package dataplane
