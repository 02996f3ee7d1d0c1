// Package afpacket is a port on one network interface: it receives and sends Ethernet
// frames in batches through AF_PACKET sockets, with the offload header of each, so that
// unfinished checksums and super-packets of up to 64 KiB pass whole and nobody has to
// switch offloads off. It is the one package of golb with raw system calls and unsafe.
//
// The kernel's own stack goes on seeing the same frames. A Filter keeps all but golb's
// own from being copied.
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
// V3 delivers when a block fills or its timer ends, a millisecond on. V2 saves a quarter
// of a microsecond of small frames, a fifth of receiving and sending one, but its slots are
// all as long as the longest frame: 512 slots are 35 MB of locked memory for each worker
// and interface, and a burst of more than 512 small frames is lost, where a socket queue of
// 8 MiB takes ten thousand. Frames of a ring are also memory that Close takes away; those
// of recvmmsg are Go's.
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
//	1448 bytes of TCP, cut by the kernel        930          870
//	TCP through two ports, CPU µs/64K           204-259      105-154
package afpacket
