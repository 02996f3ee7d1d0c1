// Package afpacket opens ports: a Port receives and sends the Ethernet frames of one
// network interface, in batches, through AF_PACKET sockets. The offload header of each
// frame (PACKET_VNET_HDR) comes and goes with it, so that frames with partial checksums
// and super-packets, BIG TCP's too, pass as they are, and nobody has to switch offloads
// off. It needs CAP_NET_RAW and Linux; on other systems Open fails with
// errors.ErrUnsupported.
//
//	port, err := afpacket.Open(afpacket.Config{
//		Interface: "eth0",
//		Filter:    forward.Filter{VIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
//	})
//	…
//	frames := make([]forward.Frame, 64)
//	for {
//		n, err := port.Recv(frames)
//		if err != nil {
//			return err
//		}
//		// parse and rewrite frames[:n]
//		port.Send(frames[:n])
//	}
//
// A port receives a copy of the frames that its filter lets in. The host's own stack still
// receives all frames. OpenGroup opens several ports on an interface, one for each worker,
// between which the kernel distributes frames by flow.
//
// Frames are received into buffers of the port, which are valid until its next Recv. Send
// has finished with a frame when it returns. So a loop such as the one above forwards
// frames without copying them. One goroutine receives on a port and one sends; all other
// methods are safe from any goroutine. Errors name the interface and wrap the system
// call's; net.ErrClosed follows Close.
//
// # Why recvmmsg
//
// The package's benchmarks receive the same frames by recvmmsg and by the rings
// TPACKET_V2 and V3. On two cores of a busy virtual machine, Linux 6.18, over veth:
//
//	                                        recvmmsg  V2    V3
//	receive a 64-byte frame, µs             0.53      0.28  0.17   (sending it: 0.6)
//	receive a 64 KiB super-packet, µs       18        13    14     (sending it: 26)
//	bulk TCP through two ports, CPU µs/64K  47-53     43-54 42-56  (kernel bridge: 19)
//	UDP echo through two ports, p50 µs      15-18     19-29 17-1960 (kernel bridge: 7)
//
// V3 delivers a block when it is full or after a timeout, which is a millisecond at least.
// V2 saves a quarter of a microsecond for a small frame, which is a fifth of receiving and
// sending it. But its slots are all as long as the longest frame: 512 slots are 35 MB of
// locked memory for each worker and interface, and a burst of more than 512 small frames
// is lost, where a socket queue of 8 MiB has room for ten thousand. And the frames of a
// ring are memory that Close unmaps; those of recvmmsg are Go's.
//
// # What merging saves
//
// Frames that arrive one by one are better sent as super-packets, which forward.Merger
// makes. On the same machine, batches of 64 packets of one flow into a veth, the least of
// seven runs, merging included:
//
//	                                            one by one   merged
//	1448 bytes of TCP, ns a packet              990          290
//	1200 bytes of UDP, ns a packet              960          240
//	22 bytes of UDP, ns a packet                925          100
//	1448 bytes of TCP, segmented by the kernel  930          870
//	TCP through two ports, CPU µs/64K           204-259      105-154
package afpacket
