package forward_test

import (
	"fmt"
	"net/netip"

	"github.com/golb/golb/forward"
)

var (
	clientMAC = forward.MAC{2, 0, 0, 0, 0, 1} // or the router's on the way to the client
	ownMAC    = forward.MAC{2, 0, 0, 0, 0, 2}
	serverMAC = forward.MAC{2, 0, 0, 0, 0, 3}

	client = addr("198.51.100.7")
	vip    = addr("192.0.2.1")
	server = addr("10.0.0.3")
	host   = addr("10.0.0.2")
)

func addr(s string) forward.Addr { return forward.AddrFrom(netip.MustParseAddr(s)) }

// receive returns a frame as a port would: here, one with a client's SYN.
func receive() *forward.Frame {
	f := &forward.Frame{Buf: make([]byte, forward.Headroom+forward.MaxFrame), Head: forward.Headroom}
	syn := forward.TCPSegment{
		SrcMAC: clientMAC, DstMAC: ownMAC,
		Src: client, Dst: vip, SrcPort: 40000, DstPort: 80,
		Flags: forward.FlagSYN, MSS: 1460, Window: 64240,
	}
	syn.Build(f)
	return f
}

// describe prints the frame that would be sent.
func describe(f *forward.Frame, p *forward.Packet) {
	fmt.Printf("%v > %v, %v:%d > %v:%d, protocol %d, TTL %d, %d bytes\n",
		forward.SrcMAC(f), forward.DstMAC(f), p.Src, p.SrcPort, p.Dst, p.DstPort, p.Proto, p.TTL, f.Len())
}

// A packet's way through a balancer that sends all of a VIP's packets to one server by
// direct server return, and counts why it drops others.
func Example() {
	drops := map[forward.Reason]int{}
	handle := func(f *forward.Frame) {
		var p forward.Packet // of this frame, until the next one is parsed
		if r := forward.Parse(f, &p); r != forward.None {
			drops[r]++
			return
		}
		if p.Dst != vip || p.TTL <= 1 {
			return
		}
		forward.DSR(f, &p, serverMAC, ownMAC)
		describe(f, &p)
	}
	handle(receive())
	short := receive()
	short.Tail -= 10
	handle(short)
	fmt.Println("dropped:", drops)
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:03, 198.51.100.7:40000 > 192.0.2.1:80, protocol 6, TTL 63, 58 bytes
	// dropped: map[bad_length:1]
}

func ExampleParse() {
	f := receive()
	var p forward.Packet
	if r := forward.Parse(f, &p); r != forward.None {
		fmt.Println("dropped:", r)
		return
	}
	describe(f, &p)
	fmt.Println("SYN:", p.TCPFlags&forward.FlagSYN != 0)

	f.Bytes()[p.L3+8]++ // the TTL, without its checksum
	fmt.Println("dropped:", forward.Parse(f, &p))
	// Output:
	// 02:00:00:00:00:01 > 02:00:00:00:00:02, 198.51.100.7:40000 > 192.0.2.1:80, protocol 6, TTL 64, 58 bytes
	// SYN: true
	// dropped: bad_ip_checksum
}

// Direct server return: the server has the VIP too, and answers the client itself.
func ExampleDSR() {
	f := receive()
	var p forward.Packet
	if forward.Parse(f, &p) != forward.None || p.TTL <= 1 {
		return
	}
	forward.DSR(f, &p, serverMAC, ownMAC)
	describe(f, &p)
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:03, 198.51.100.7:40000 > 192.0.2.1:80, protocol 6, TTL 63, 58 bytes
}

// NAT: the packet goes to the server's own address, and its reply comes from there.
func ExampleNATRequest() {
	f := receive()
	var p forward.Packet
	if forward.Parse(f, &p) != forward.None || p.TTL <= 1 {
		return
	}
	if r := forward.NATRequest(f, &p, &server, 8080); r != forward.None {
		fmt.Println("dropped:", r)
		return
	}
	forward.DecTTL(f, &p)
	forward.SetMACs(f, serverMAC, ownMAC)
	describe(f, &p)
	fmt.Println("checksum right:", forward.ChecksumOK(f, &p))
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:03, 198.51.100.7:40000 > 10.0.0.3:8080, protocol 6, TTL 63, 58 bytes
	// checksum right: true
}

// A tunnel: the server has the VIP, as with DSR, and may be behind routers.
func ExampleEncapsulate() {
	f := receive()
	var p forward.Packet
	if forward.Parse(f, &p) != forward.None || p.TTL <= 1 {
		return
	}
	forward.DecTTL(f, &p)
	tunnel := forward.Tunnel{Kind: forward.GUE, Port: 6080, Local: host, Remote: server}
	const id, srcPort = 1, 50000
	if r := forward.Encapsulate(f, &p, &tunnel, id, srcPort); r != forward.None {
		fmt.Println("dropped:", r)
		return
	}
	forward.SetMACs(f, serverMAC, ownMAC)
	describe(f, &p)
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:03, 10.0.0.2:50000 > 10.0.0.3:6080, protocol 17, TTL 63, 90 bytes
}

// A packet whose TTL runs out is answered.
func ExampleTimeExceeded() {
	f := receive()
	var p, q forward.Packet
	if forward.Parse(f, &p) != forward.None {
		return
	}
	reply := &forward.Frame{Buf: make([]byte, forward.MaxReply)}
	const id = 1
	if forward.TimeExceeded(reply, f, &p, vip, id) && forward.Parse(reply, &q) == forward.None {
		describe(reply, &q)
		fmt.Println("is an ICMP error:", q.IsICMPError())
	}
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:01, 192.0.2.1:0 > 198.51.100.7:0, protocol 1, TTL 64, 86 bytes
	// is an ICMP error: true
}

// A super-packet that goes into a tunnel is split first.
func ExampleSegmenter() {
	f := &forward.Frame{Buf: make([]byte, forward.Headroom+forward.MaxFrame), Head: forward.Headroom}
	data := forward.TCPSegment{Src: client, Dst: vip, SrcPort: 40000, DstPort: 80, Flags: forward.FlagACK, Payload: make([]byte, 4000)}
	data.Build(f)
	var p, q forward.Packet
	if forward.Parse(f, &p) != forward.None {
		return
	}
	const size = 1440 // bytes of payload: what the tunnel's MTU has room for
	var s forward.Segmenter
	if r := s.Start(f, &p, size); r != forward.None {
		fmt.Println("dropped:", r)
		return
	}
	out := &forward.Frame{Buf: make([]byte, forward.Headroom+s.FrameLen()), Head: forward.Headroom}
	for s.Next(out, &q) {
		seq, _ := forward.Sequence(out, &q)
		fmt.Printf("sequence number %d, %d bytes of payload\n", seq, q.PayloadLen())
		out.Head = forward.Headroom // Encapsulate would have moved it
	}
	// Output:
	// sequence number 0, 1440 bytes of payload
	// sequence number 1440, 1440 bytes of payload
	// sequence number 2880, 1120 bytes of payload
}
