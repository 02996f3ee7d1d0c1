// Package vrrp speaks the Virtual Router Redundancy Protocol: version 3 (RFC 9568) and
// version 2 (RFC 3768, with the authentication of RFC 2338), over IPv4 and IPv6, with
// keepalived and other routers as peers.
//
// Two or more routers share addresses. One of them, the master, has them and says so by
// adverts; the others are backups, and one of these takes over when adverts stay out or
// when the master gives up its role.
//
// The package decides, and has no socket, clock or goroutine. Packets and the time go in
// through the methods of an [Instance]; packets to send, changes of state and addresses
// to announce come out through the methods of a [Host]. So the same code runs in a
// program and in simulations, which play years in seconds.
//
// # Use
//
// One goroutine has a [Router], which is all instances of a host:
//
//	router, err := vrrp.NewRouter(host, vrrp.Config{
//		Interface: "eth0",
//		VRID:      51,
//		Priority:  200,
//		Source:    netip.MustParseAddr("192.0.2.1"),
//		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")},
//	})
//	...
//	router.Start(time.Now())
//	for {
//		select {
//		case p := <-packets:
//			router.Receive(time.Now(), p.Interface, p.Data)
//		case <-timer.C: // set to router.Deadline() each time
//			for len(packets) > 0 {
//				p := <-packets
//				router.Receive(time.Now(), p.Interface, p.Data)
//			}
//			router.Tick(time.Now())
//		case fault := <-faults:
//			fault.Instance.SetFault(time.Now(), fault.Is)
//		}
//	}
//
// The host
//
//   - joins the multicast group on the interface, and takes IP protocol 112, and 51 for
//     instances with an AH. It does not hand in what it has sent itself;
//   - hands in packets with their IP header, and all that wait before it calls Tick;
//   - sends the packets as they are. The source MAC may be that of the interface or
//     [Instance.VirtualMAC] (RFC 9568 §7.3);
//   - answers for the addresses, and forwards for them, while the state is StateMaster;
//   - calls SetFault and SetPriority for what it tracks, and Shutdown before it ends.
//
// # Adverts
//
// [Decode] reads an IP packet and says the first thing wrong with it that can be told
// without a configuration; [Advert.Append] writes one. Both are keepalived's formats to
// the byte: tests hold them against recordings of keepalived 2.2.7 and 2.4.3.
//
// Version 3 over IPv4 has three checksums (RFC 5798 could be read in two ways, RFC 9568
// §5.2.8 in one, and an old keepalived had a third): [Checksum]. All are taken, and the
// peer is answered with its own.
//
// Authentication is no part of RFC 9568 nor of RFC 3768. There are the password and the
// AH of RFC 2338 for version 2, and the HMAC trailer of keepalived 2.4 for both:
// [HMAC]. Only the last one protects against somebody on the same wire who means it.
//
// # States and timers
//
// An instance starts as backup and is master after the master down time, DownAdverts
// intervals and the skew time (RFC 9568 §6.1): (256 - priority)/256 of the interval in
// version 3, of a second in version 2. For priority 200 and 1 s that is 3.22 s. Version
// 3 takes the interval of the master (§6.4.2), version 2 drops adverts with another
// (RFC 3768 §7.1).
//
//	event                                  backup                        master
//	advert, priority not below ours        waits anew                    steps back (equal: if its address is higher)
//	advert, lower priority                 ignores it, so preempts       answers, announces the addresses
//	  with NoPreempt, or after Release     waits anew                    the same
//	  with PreemptDelay                    waits anew until the delay    the same
//	                                       is over
//	  of the master, whose priority fell   takes over after the skew     the same
//	advert, priority 0                     takes over after the skew     sends an advert
//	SetFault                               fault                         priority 0 twice, fault
//	Shutdown, Release                      ends; nothing                 priority 0, ends; backup
//
// At a takeover the advert goes out first, then the state changes, then all addresses
// are announced, as [Announce] says. Instances with one Group change together: a fault
// of one is a fault of all, one that steps back takes the others with it, and they are
// master once all want to be.
//
// Where two masters reach each other, the first advert of either ends that: the better
// one tells the other, and announces the addresses whoever spoke first. Two address
// owners (priority 255) are a mistake in a configuration; the one with the lower address
// gives in and, if that one does not, the other one does.
//
// # What a stopped process missed
//
// A process is stopped by SIGSTOP, a debugger, a snapshot of its virtual machine, or for
// want of processor time. When it goes on, a master that has sent nothing for as long as
// backups wait is no master any more; and a backup whose timer ended meanwhile may have
// missed a master's adverts. Both listen for one and a half intervals and the skew time
// before they take a role. The time must show the pause: a clock that stands still while
// the machine sleeps, as CLOCK_MONOTONIC does on Linux, hides it.
//
// # What is not taken
//
// An instance looks at adverts in the order of the constants of [Reason], which is
// keepalived's, counts what it drops in [Stats], and reports each kind once until its
// state or its master changes. Dropped adverts move no timer. What is taken but odd
// (other addresses, another interval, a clock that is off) is reported too.
//
// # Where it differs from keepalived
//
// Each has a switch in [Keepalived] with its reason: other addresses and checksums are
// taken; a master that steps back sends a last advert; a backup does not wait when its
// master's priority falls; a new priority goes out at once; pauses are noticed; a burst
// of lower adverts gets one answer; unicast must come from a peer; dropped adverts do
// not put off a master's own; of two owners the lower address gives in. Without a switch
// are that numbers of AHs are compared per sender, that a second burst of announcements
// that is due several times is made once, and that a reload does not repeat the old
// priority.
package vrrp
