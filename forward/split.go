package forward

// Splitter splits a TCP super-packet that is too long for the length field of its IP header
// (BIG TCP) into shorter ones, each as a sender makes it whose gso_max_size is 64 KiB: such
// every Linux forwards, while it drops long ones of IPv6. The payload stays where it is:
//
//	var s forward.Splitter
//	if r := s.Start(f, p); r != forward.None { … }
//	for s.Next(f, p) {
//		// f is a shorter super-packet, and p its Packet; both may be rewritten
//	}
//
// Next writes headers over the end of the payload before, so each frame has to be sent
// before the next one is made. The zero value has none. Not for concurrent use.
type Splitter struct {
	p       Packet // as a shorter super-packet has its headers
	o       Offload
	head    int // offset in Buf of the next payload
	end     int // offset in Buf of the end
	first   bool
	n       int                   // segments before the next payload
	headers [maxSplitHeaders]byte // Ethernet to TCP, without jumbo payload option
}

// maxSplitHeaders is more than an Ethernet, IPv4 and TCP header with all their options; an
// IPv6 header has room for 134 bytes of extensions then.
const maxSplitHeaders = 248

// longestSplit is the length in bytes of the longest frame that Splitter makes: that of a
// packet whose length the header of either version can tell.
const longestSplit = EthernetLen + 65535

// Start prepares to split the super-packet in f, which p describes. The result is BadOffload
// for one that is no TCP super-packet, and BadExtensionHeader where its headers are too long.
func (s *Splitter) Start(f *Frame, p *Packet) Reason {
	*s = Splitter{}
	if !f.Offload.superTCP() || f.Offload.GSOSize == 0 || p.Frag != NotFrag {
		return BadOffload
	}
	s.p, s.o = *p, f.Offload
	s.p.Oversized = false
	at := p.L4 // in f; the headers before it may get shorter
	if p.jumbo {
		at = p.L3 + ip6HeaderLen
		s.p.jumbo = false
		s.p.L4, s.p.Payload = p.L4-jumboLen, p.Payload-jumboLen
	}
	if s.p.Payload > maxSplitHeaders {
		return BadExtensionHeader
	}
	b := f.Bytes()
	copy(s.headers[:], b[:at])
	copy(s.headers[at:], b[at+p.Payload-s.p.Payload:p.Payload])
	if p.jumbo {
		s.headers[p.L3+ip6Next] = b[at]
	}
	s.head, s.end, s.first = f.Head+p.Payload, f.Head+p.End, true
	return None
}

// Next makes f the next super-packet, sets its Head, Tail and Offload, and fills p. It
// returns false when there are no more. f is the frame of Start, whatever became of its
// headers.
func (s *Splitter) Next(f *Frame, p *Packet) bool {
	if s.head == s.end {
		return false
	}
	room := longestSplit - s.p.Payload
	size := min(int(s.o.GSOSize), room)
	n := min(s.end-s.head, room/size*size)
	last := s.head+n == s.end
	f.Head, f.Tail, f.Offload = s.head-s.p.Payload, s.head+n, s.o
	f.Offload.HdrLen = uint16(s.p.Payload)
	if n <= size {
		f.Offload.GSO, f.Offload.GSOSize, f.Offload.HdrLen = GSONone, 0, 0
	}
	b := f.Bytes()
	copy(b, s.headers[:s.p.Payload])
	*p = s.p
	p.End = len(b)
	p.setIPLen(b, s.n)
	h := tcp(b[p.L4:])
	if !last {
		p.TCPFlags &^= FlagFIN | FlagPSH
	}
	if !s.first {
		p.TCPFlags &^= FlagCWR
	}
	h[tcpFlags] = p.TCPFlags
	setPartialChecksum(f, p, tcpChecksum)
	// The headers of the packet after this one.
	next := tcp(s.headers[s.p.L4:])
	next.setSeq(next.seq() + uint32(n))
	s.n += (n + size - 1) / size
	s.head, s.first = s.head+n, false
	return true
}
