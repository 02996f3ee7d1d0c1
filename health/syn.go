package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// SYN sends a SYN and expects SYN-ACK: a half-open connect, which the server's program
// does not see. The kernel of this host, which did not send the SYN, resets the
// connection. It needs CAP_NET_RAW.
type SYN struct {
	Addr   netip.AddrPort
	Dial   DialFunc   // finds the source address, with network udp; nil is the host's own
	Listen ListenFunc // nil is the host's own
}

const (
	// Source ports above those that Linux gives to connections (32768 to 60999), so that
	// they are not those of a connection of this host.
	synPortsFrom, synPortsTo = 61000, 65535
	// synRepeat is when a SYN counts as lost (RFC 6298 section 2).
	synRepeat = time.Second

	tcpSYN, tcpRST, tcpACK = 0x02, 0x04, 0x10
)

// Check sends a SYN, again each second until something answers it.
func (c *SYN) Check(ctx context.Context) error {
	local, err := c.local(ctx)
	if err != nil {
		return err
	}
	conn, err := c.listen(local)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	port := uint16(synPortsFrom + rand.IntN(synPortsTo-synPortsFrom+1))
	if raw, ok := conn.(*net.IPConn); ok {
		// Only saves work: without the filter the socket gets every TCP packet to this host,
		// and answer ignores them.
		_ = filterPorts(raw, local.Is4(), c.Addr.Port(), port)
	}
	s := synProbe{local: local, port: port, remote: c.Addr, seq: rand.Uint32()}
	err = s.exchange(ctx, conn)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("SYN to %s: %w", c.Addr, netReason(ctx, err))
	}
	return nil
}

// local returns the source address for packets to the server.
func (c *SYN) local(ctx context.Context) (netip.Addr, error) {
	conn, err := c.Dial.dial(ctx, "udp", c.Addr.String())
	if err != nil {
		return netip.Addr{}, dialReason(ctx, c.Addr.String(), err)
	}
	defer conn.Close()
	addr, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("SYN to %s: no source address", c.Addr)
	}
	return addr.AddrPort().Addr().Unmap(), nil
}

func (c *SYN) listen(local netip.Addr) (net.PacketConn, error) {
	listen, network := c.Listen, "ip4:tcp"
	if listen == nil {
		listen = Source{}.Listen
	}
	if local.Is6() {
		network = "ip6:tcp"
	}
	conn, err := listen(network, local.String())
	if errors.Is(err, syscall.EPERM) {
		return nil, errors.New("SYN: needs CAP_NET_RAW")
	}
	if err != nil {
		return nil, fmt.Errorf("SYN to %s: %w", c.Addr, netReason(context.Background(), err))
	}
	return conn, nil
}

// filterPorts has the kernel deliver only TCP from one port to another. The filter of an
// IPv4 raw socket sees the IP header, that of an IPv6 one does not.
func filterPorts(conn *net.IPConn, is4 bool, from, to uint16) error {
	var prog []bpf.Instruction
	load := func(off uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: off, Size: 2} }
	if is4 {
		prog = append(prog, bpf.LoadMemShift{Off: 0})
		load = func(off uint32) bpf.Instruction { return bpf.LoadIndirect{Off: off, Size: 2} }
	}
	prog = append(prog,
		load(0), bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(from), SkipTrue: 3},
		load(2), bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(to), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0})
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return err
	}
	if is4 {
		return ipv4.NewPacketConn(conn).SetBPF(raw)
	}
	return ipv6.NewPacketConn(conn).SetBPF(raw)
}

// synProbe is one SYN.
type synProbe struct {
	local  netip.Addr
	port   uint16
	remote netip.AddrPort
	seq    uint32
}

func (s *synProbe) exchange(ctx context.Context, conn net.PacketConn) error {
	to := &net.IPAddr{IP: s.remote.Addr().Unmap().AsSlice(), Zone: s.remote.Addr().Zone()}
	in := make([]byte, 1500)
	for {
		if _, err := conn.WriteTo(s.packet(), to); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(synRepeat)); err != nil {
			return err
		}
		if ctx.Err() != nil { // the deadline just set may have replaced the one that its end set
			return ctx.Err()
		}
		for {
			n, from, err := conn.ReadFrom(in)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break // send again
			}
			if err != nil {
				return err
			}
			if ip, ok := from.(*net.IPAddr); ok && ip.IP.Equal(to.IP) {
				if ours, err := s.answer(in[:n]); ours {
					return err
				}
			}
		}
	}
}

// packet returns the SYN (RFC 9293 section 3.1), with a maximum segment size, without
// which some hosts drop it.
func (s *synProbe) packet() []byte {
	p := make([]byte, 24)
	binary.BigEndian.PutUint16(p[0:], s.port)
	binary.BigEndian.PutUint16(p[2:], s.remote.Port())
	binary.BigEndian.PutUint32(p[4:], s.seq)
	p[12], p[13] = 6<<4, tcpSYN
	binary.BigEndian.PutUint16(p[14:], 64240)          // window
	copy(p[20:], []byte{2, 4, 1220 >> 8, 1220 & 0xff}) // MSS that fits any path
	sum := pseudoHeader(s.local, s.remote.Addr().Unmap(), len(p))
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[16:], ^uint16(sum))
	return p
}

// pseudoHeader returns the unfolded sum of the pseudo-header (RFC 9293 section 3.1, RFC
// 8200 section 8.1).
func pseudoHeader(src, dst netip.Addr, length int) uint32 {
	sum := uint32(6 + length) // protocol
	for _, a := range []netip.Addr{src, dst} {
		b := a.AsSlice()
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	return sum
}

// answer reports whether a TCP segment from the server answers this SYN, and the error
// where it refuses the connection.
func (s *synProbe) answer(p []byte) (ours bool, err error) {
	if len(p) < 20 || binary.BigEndian.Uint16(p) != s.remote.Port() || binary.BigEndian.Uint16(p[2:]) != s.port ||
		binary.BigEndian.Uint32(p[8:]) != s.seq+1 {
		return false, nil
	}
	switch p[13] & (tcpSYN | tcpRST | tcpACK) {
	case tcpSYN | tcpACK:
		return true, nil
	case tcpRST | tcpACK:
		return true, syscall.ECONNREFUSED
	}
	return false, nil
}

// SYNType returns the type of [SYN].
func SYNType() Type {
	return Type{Name: "syn", About: "half-open TCP connect, which the server's program does not see", Transport: "tcp",
		Bind: func(_ *Keys, p Peer) Checker { return &SYN{Addr: p.Addr, Dial: p.Dial, Listen: p.Listen} }}
}
