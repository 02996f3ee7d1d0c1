package lb_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// ftpBench is a client of three FTP servers behind NAT.
type ftpBench struct {
	*bench
	vip    netip.Addr
	client netip.AddrPort
	server netip.Addr // the one that the client's control connection went to
	// What either end has sent.
	clientSeq, serverSeq uint32
}

func ftpService(vip netip.Addr, method lb.Method) lb.Service {
	s := service(vip, 3)
	s.Port, s.Method, s.Scheduler = 21, method, "rr"
	return s
}

func startFTP(t *testing.T, vip netip.Addr, more ...lb.Service) *ftpBench {
	t.Helper()
	b := &ftpBench{bench: start(t, lb.Config{Services: append([]lb.Service{ftpService(vip, lb.NAT)}, more...)}), vip: vip}
	b.open(client(1))
	return b
}

// open makes a control connection, up to the server's greeting.
func (b *ftpBench) open(from netip.AddrPort) {
	b.t.Helper()
	if b.vip.Is6() {
		from = netip.AddrPortFrom(client6(1).Addr(), from.Port())
	}
	b.client, b.clientSeq, b.serverSeq = from, 1000, 5000
	p := b.fromClient(forward.FlagSYN, "")
	b.server = p.Dst.Addr()
	b.fromServer(forward.FlagSYN|forward.FlagACK, "")
	b.fromClient(forward.FlagACK, "")
	b.fromServer(forward.FlagACK|forward.FlagPSH, "220 ready\r\n")
}

// segment is what an end of a connection got.
type segment struct {
	Src, Dst netip.AddrPort
	mac      forward.MAC
	flags    uint8
	seq, ack uint32
	payload  string
}

// tcp sends a segment and returns the one that came of it. ok is false where none
// did; then golb's own answer counts as none.
func (b *ftpBench) tcp(from forward.MAC, p lbtest.Packet) (s segment, ok bool) {
	b.t.Helper()
	p.SrcMAC, p.DstMAC = from, balancerMAC
	frames := b.inject(p.Frame())
	if len(frames) != 1 {
		return s, false
	}
	f := forward.Frame{Buf: frames[0].Data, Tail: len(frames[0].Data)}
	var q forward.Packet
	if r := forward.Parse(&f, &q); r != forward.None || !forward.ChecksumOK(&f, &q) {
		b.t.Fatalf("%v, checksum right: %v", r, forward.ChecksumOK(&f, &q))
	}
	h := f.Bytes()[q.L4:]
	s = segment{
		Src: netip.AddrPortFrom(q.Src.Netip(), q.SrcPort), Dst: netip.AddrPortFrom(q.Dst.Netip(), q.DstPort), mac: forward.DstMAC(&f),
		flags: q.TCPFlags, seq: binary.BigEndian.Uint32(h[4:]), ack: binary.BigEndian.Uint32(h[8:]), payload: string(f.Bytes()[q.Payload:q.End]),
	}
	return s, s.mac != from
}

func (b *ftpBench) mustTCP(from forward.MAC, p lbtest.Packet) segment {
	b.t.Helper()
	s, ok := b.tcp(from, p)
	if !ok {
		b.t.Fatalf("%s > %s %q: nothing came of it; dropped: %v", p.Src, p.Dst, p.Payload, b.balancer.Stats().Drops)
	}
	return s
}

// fromClient sends on the control connection and returns what the server gets.
func (b *ftpBench) fromClient(flags uint8, payload string) segment {
	b.t.Helper()
	s := b.mustTCP(clientMAC, lbtest.Packet{
		Src: b.client, Dst: netip.AddrPortFrom(b.vip, 21), Flags: flags, Seq: b.clientSeq, Payload: []byte(payload),
	})
	b.clientSeq += uint32(len(payload)) + uint32(flags>>1&1)
	return s
}

// fromServer sends on the control connection and returns what the client gets.
func (b *ftpBench) fromServer(flags uint8, payload string) segment {
	b.t.Helper()
	s := b.serverSends(b.serverSeq, flags, payload)
	b.serverSeq += uint32(len(payload)) + uint32(flags>>1&1)
	return s
}

func (b *ftpBench) serverSends(seq uint32, flags uint8, payload string) segment {
	b.t.Helper()
	return b.mustTCP(serverMAC(b.server), lbtest.Packet{
		Src: netip.AddrPortFrom(b.server, 21), Dst: b.client, Flags: flags, Seq: seq, Payload: []byte(payload),
	})
}

// connect has the client open a connection to a port of the VIP; server is the
// zero AddrPort where that fails.
func (b *ftpBench) connect(from, port uint16) (server netip.AddrPort) {
	b.t.Helper()
	s, _ := b.tcp(clientMAC, lbtest.Packet{Src: netip.AddrPortFrom(b.client.Addr(), from), Dst: netip.AddrPortFrom(b.vip, port), Flags: forward.FlagSYN})
	if s.flags != forward.FlagSYN {
		return netip.AddrPort{}
	}
	return s.Dst
}

// pasv is a 227 or 229 reply of the server.
func pasv(addr netip.Addr, port int) string {
	if addr.Is6() {
		return fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)\r\n", port)
	}
	return fmt.Sprintf("227 Entering Passive Mode (%s).\r\n", hostPort(addr, port))
}

func hostPort(addr netip.Addr, port int) string {
	a := addr.As4()
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3], port>>8, port&255)
}

func TestFTPPassiveDataGoesToTheServerOfItsControl(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		b := startFTP(t, vip)
		b.fromClient(forward.FlagACK, "PASV\r\n")
		if got, want := b.fromServer(forward.FlagACK, pasv(b.server, 40000)).payload, pasv(vip, 40000); got != want {
			t.Errorf("the client reads %q, want %q", got, want)
		}
		want := netip.AddrPortFrom(b.server, 40000)
		if got := b.connect(33333, 40000); got != want {
			t.Errorf("data went to %s, want %s", got, want)
		}
		if got := b.connect(33333, 40000); got != want {
			t.Errorf("and its second SYN to %s", got)
		}
		reply := b.mustTCP(serverMAC(b.server), lbtest.Packet{Src: want, Dst: netip.AddrPortFrom(b.client.Addr(), 33333), Flags: forward.FlagSYN | forward.FlagACK})
		if reply.Src != netip.AddrPortFrom(vip, 40000) || reply.mac != clientMAC {
			t.Errorf("the client got the answer from %s at %s", reply.Src, reply.mac)
		}
		if got := b.connect(33334, 40000); got.IsValid() {
			t.Errorf("a second connection went to %s", got)
		}
		if _, expected := b.balancer.FTPState(); expected != 0 {
			t.Errorf("%d expectations are left", expected)
		}
	}
}

func TestFTPActiveDataComesFromTheVIP(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		b := startFTP(t, vip)
		for i, from := range []uint16{20, 45678} {
			listen := netip.AddrPortFrom(b.client.Addr(), uint16(33000+i))
			command := fmt.Sprintf("EPRT |2|%s|%d|\r\n", listen.Addr(), listen.Port())
			if vip.Is4() {
				command = fmt.Sprintf("PORT %s\r\n", hostPort(listen.Addr(), int(listen.Port())))
			}
			if got := b.fromClient(forward.FlagACK, command).payload; got != command {
				t.Errorf("the server reads %q, want %q", got, command)
			}
			data := netip.AddrPortFrom(b.server, from)
			got := b.mustTCP(serverMAC(b.server), lbtest.Packet{Src: data, Dst: listen, Flags: forward.FlagSYN})
			if got.Src != netip.AddrPortFrom(vip, from) || got.Dst != listen || got.mac != clientMAC {
				t.Errorf("the client got %s > %s at %s", got.Src, got.Dst, got.mac)
			}
			got = b.mustTCP(clientMAC, lbtest.Packet{Src: listen, Dst: netip.AddrPortFrom(vip, from), Flags: forward.FlagSYN | forward.FlagACK})
			if got.Dst != data || got.mac != serverMAC(b.server) {
				t.Errorf("the answer went to %s at %s, want %s", got.Dst, got.mac, data)
			}
			state, _ := b.balancer.Connection(lb.TCP, listen, netip.AddrPortFrom(vip, from))
			if state.State != "SYN_RECV" || state.Server != data {
				t.Errorf("listed as %+v", state)
			}
		}
	}
}

// A port of its own is one that no service has; the server's data port lies below
// its control port.
func TestFTPServersOnOtherPorts(t *testing.T) {
	s := ftpService(vip4, lb.NAT)
	s.Servers = []lb.Server{{Address: server4(1), Port: 2121}}
	b := &ftpBench{bench: start(t, lb.Config{Services: []lb.Service{s}}), vip: vip4, client: client(1), server: server4(1)}
	b.fromClient(forward.FlagSYN, "")
	b.fromClient(forward.FlagACK, "")
	b.fromClient(forward.FlagACK, "PORT "+hostPort(client(1).Addr(), 33000)+"\r\n")
	got := b.mustTCP(serverMAC(b.server), lbtest.Packet{
		Src: netip.AddrPortFrom(b.server, 2120), Dst: netip.AddrPortFrom(client(1).Addr(), 33000), Flags: forward.FlagSYN,
	})
	if want := netip.AddrPortFrom(vip4, 20); got.Src != want {
		t.Errorf("the client sees data from %s, want %s", got.Src, want)
	}
}

func TestFTPControlGoesOnAfterItWasEdited(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromClient(forward.FlagACK, "PASV\r\n")
	line := pasv(b.server, 40000)
	sent := b.serverSeq
	edited := b.fromServer(forward.FlagACK, line)
	longer := uint32(len(edited.payload) - len(line))
	if longer == 0 {
		t.Fatal("of the same length: this test shows nothing")
	}
	if edited.seq != sent {
		t.Errorf("the edited segment has sequence number %d, want %d", edited.seq, sent)
	}
	again := b.serverSends(sent, forward.FlagACK, line)
	if again != edited {
		t.Errorf("a retransmission came as %+v, want %+v", again, edited)
	}
	got := b.fromServer(forward.FlagACK, "200 ok\r\n")
	if want := sent + uint32(len(line)) + longer; got.seq != want || got.payload != "200 ok\r\n" {
		t.Errorf("the next segment is %+v, want sequence number %d", got, want)
	}
	ack := b.mustTCP(clientMAC, lbtest.Packet{
		Src: b.client, Dst: netip.AddrPortFrom(vip4, 21), Flags: forward.FlagACK, Seq: b.clientSeq, Ack: got.seq + 8,
	})
	if ack.ack != b.serverSeq || ack.seq != b.clientSeq {
		t.Errorf("the server got %+v, want acknowledgment %d", ack, b.serverSeq)
	}
}

// What is no line of its own must open nothing: a file's name, or what a client has
// had the server say, at the start of a segment too.
func TestFTPTextIsNoReply(t *testing.T) {
	for _, segments := range [][]string{
		{"500 '227 x (1,2,3,4,156,64)': command not understood\r\n"},
		{"500 'AAAA", "227 x (1,2,3,4,156,64)': command not understood\r\n"},
		{"211-Files", " 229 x (|||40000|)\r\n", "211 end\r\n"},
		{"227 x (10,0,0,1,0,22)\r\n"},
		{"227 x (10,0,0,1,156,64)"},
	} {
		b := startFTP(t, vip4)
		for _, s := range segments {
			if got := b.fromServer(forward.FlagACK, s).payload; got != s {
				t.Errorf("%q was edited: %q", s, got)
			}
		}
		if _, expected := b.balancer.FTPState(); expected != 0 {
			t.Errorf("%q: %d expectations", segments, expected)
		}
	}
	b := startFTP(t, vip4)
	for _, s := range []string{
		"STOR x PORT " + hostPort(b.client.Addr(), 4000) + "\r\n",
		"PORT 203,0,113,9,100,100\r\n",
		"EPRT |2|2001:db8::1|4000|\r\n",
	} {
		b.fromClient(forward.FlagACK, s)
	}
	if _, expected := b.balancer.FTPState(); expected != 0 {
		t.Errorf("%d expectations", expected)
	}
}

// A reply in a SYN, a damaged one, and one that the address family has not.
func TestFTPSegmentsThatAreNotRead(t *testing.T) {
	b := startFTP(t, vip4)
	b.client = client(2)
	b.server = b.fromClient(forward.FlagSYN, "").Dst.Addr()
	if got := b.fromServer(forward.FlagSYN|forward.FlagACK, pasv(b.server, 40000)); got.payload != pasv(b.server, 40000) {
		t.Errorf("a SYN was edited: %q", got.payload)
	}
	b.open(client(3))
	damaged := lbtest.Packet{
		SrcMAC: serverMAC(b.server), DstMAC: balancerMAC, Src: netip.AddrPortFrom(b.server, 21), Dst: b.client,
		Flags: forward.FlagACK, Seq: b.serverSeq, Payload: []byte(pasv(b.server, 40000)),
	}.Frame()
	damaged.Data[len(damaged.Data)-6] ^= 1
	b.inject(damaged)
	b6 := startFTP(t, vip6)
	if got := b6.fromServer(forward.FlagACK, pasv(server4(1), 40000)).payload; got != pasv(server4(1), 40000) {
		t.Errorf("a 227 over IPv6 was edited: %q", got)
	}
	for _, b := range []*ftpBench{b, b6} {
		if _, expected := b.balancer.FTPState(); expected != 0 {
			t.Errorf("%s: %d expectations", b.vip, expected)
		}
	}
}

func TestFTPDataOfARemovedServerGoesNowhere(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromServer(forward.FlagACK, pasv(b.server, 40000))
	next := lb.Config{Interfaces: []string{"wire0"}, Workers: 1, MaxConnections: 1 << 12, Services: []lb.Service{ftpService(vip4, lb.NAT)}}
	next.Services[0].Servers = slices.DeleteFunc(next.Services[0].Servers, func(r lb.Server) bool { return r.Address == b.server })
	if err := b.balancer.Apply(context.Background(), next); err != nil {
		t.Fatal(err)
	}
	if got := b.connect(33333, 40000); got.IsValid() {
		t.Errorf("data went to %s", got)
	}
}

func TestFTPDeletingConnectionsDeletesAll(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromServer(forward.FlagACK, pasv(b.server, 40000))
	b.connect(33333, 40000)
	if n := b.balancer.DeleteConnections(lb.ConnectionFilter{}); n != 2 || b.balancer.Stats().Connections != 0 {
		t.Errorf("deleted %d connections, want control and data; %d are left", n, b.balancer.Stats().Connections)
	}
}

func TestFTPPassivePortThatIsTakenIsChanged(t *testing.T) {
	other := service(vip4, 1)
	other.Port = 40000
	b := startFTP(t, vip4, other)
	got := b.fromServer(forward.FlagACK, pasv(b.server, 40000)).payload
	e, ok := forward.ParseFTP([]byte(got), true)
	if !ok || e.Addr.Netip() != vip4 || e.Port == 40000 {
		t.Errorf("the client reads %q: port 40000 is another service's", got)
	}
	if got, want := b.connect(33333, e.Port), netip.AddrPortFrom(b.server, 40000); got != want {
		t.Errorf("data went to %s, want %s", got, want)
	}

	first := b.server
	b.fromServer(forward.FlagACK, pasv(b.server, 40001))
	b.open(netip.AddrPortFrom(b.client.Addr(), b.client.Port()+1))
	if b.server == first {
		t.Fatal("both control connections went to one server")
	}
	got = b.fromServer(forward.FlagACK, pasv(b.server, 40001)).payload
	e, ok = forward.ParseFTP([]byte(got), true)
	if !ok || e.Port == 40001 {
		t.Errorf("the client reads %q: port 40001 is the other server's", got)
	}
	if got, want := b.connect(33334, 40001), netip.AddrPortFrom(first, 40001); got != want {
		t.Errorf("data went to %s, want %s", got, want)
	}
	if got, want := b.connect(33335, e.Port), netip.AddrPortFrom(b.server, 40001); got != want {
		t.Errorf("data went to %s, want %s", got, want)
	}
}

func TestFTPRetransmissionsOpenNothing(t *testing.T) {
	b := startFTP(t, vip4)
	seq := b.serverSeq
	reply := "200 ok\r\n" + pasv(b.server, 40000)
	first := b.fromServer(forward.FlagACK, reply)
	b.connect(33333, 40000)
	if again := b.serverSends(seq, forward.FlagACK, reply); again != first {
		t.Errorf("a retransmission came as %+v, want %+v", again, first)
	}
	if got := b.connect(33334, 40000); got.IsValid() {
		t.Errorf("it opened the port again, to %s", got)
	}
}

func TestFTPExpectationsAreFew(t *testing.T) {
	b := startFTP(t, vip4)
	for i := range 50 {
		b.fromServer(forward.FlagACK, pasv(b.server, 40000+i))
		b.fromClient(forward.FlagACK, "PORT "+hostPort(b.client.Addr(), 5000+i)+"\r\n")
	}
	if _, expected := b.balancer.FTPState(); expected != 2 {
		t.Errorf("%d expectations, want the last of each kind", expected)
	}
	if got := b.connect(33333, 40000); got.IsValid() {
		t.Errorf("the first port still leads to %s", got)
	}
	listed := 0
	for c := range b.balancer.Connections {
		if c.State == "LISTEN" {
			listed++
		}
	}
	if listed != 2 {
		t.Errorf("%d connections are listed in state LISTEN, want 2", listed)
	}
	b.clock.Advance(119 * time.Second)
	b.fromClient(forward.FlagACK, "")
	b.clock.Advance(2 * time.Second)
	b.balancer.Stats()
	if _, expected := b.balancer.FTPState(); expected != 0 {
		t.Errorf("%d expectations after 121 s", expected)
	}
}

// A transfer that takes longer than an idle control connection lives.
func TestFTPControlLivesAsLongAsItsData(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromServer(forward.FlagACK, pasv(b.server, 40000))
	b.connect(33333, 40000)
	data := lbtest.Packet{Src: netip.AddrPortFrom(b.client.Addr(), 33333), Dst: netip.AddrPortFrom(vip4, 40000), Flags: forward.FlagACK}
	for range 10 {
		b.mustTCP(clientMAC, data)
		b.clock.Advance(10 * time.Minute)
		b.balancer.Stats()
	}
	if got := b.fromServer(forward.FlagACK, "226 done\r\n"); got.payload != "226 done\r\n" || got.seq == b.serverSeq-10 {
		t.Errorf("after 100 minutes the client got %+v", got)
	}
	b.clock.Advance(time.Hour)
	b.balancer.Stats() // ends the data, which held the control connection
	b.clock.Advance(time.Hour)
	st := b.balancer.Stats()
	controls, expected := b.balancer.FTPState()
	if st.Connections != 0 || controls != 0 || expected != 0 {
		t.Errorf("%d connections, %d control connections, %d expectations are left", st.Connections, controls, expected)
	}
	for _, s := range st.Services[0].Servers {
		if s.Active != 0 || s.Inactive != 0 {
			t.Errorf("%s counts %d active and %d inactive connections", s.Name, s.Active, s.Inactive)
		}
	}
}

// Each control connection that is read has state of its own beside the table's.
func TestFTPControlConnectionsAreBounded(t *testing.T) {
	const size = 1 << 12 // of the table of start
	b := startFTP(t, vip4)
	for port := range uint16(2 * size / 32) {
		b.open(netip.AddrPortFrom(b.client.Addr(), 1024+port))
		b.fromServer(forward.FlagACK, "220 hello\r\n")
	}
	if controls, _ := b.balancer.FTPState(); controls != size/32 {
		t.Errorf("%d control connections are read, want %d", controls, size/32)
	}
}

func TestFTPHaltCutsControlAndData(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromServer(forward.FlagACK, pasv(b.server, 40000))
	b.connect(33333, 40000)
	b.fromServer(forward.FlagACK, pasv(b.server, 40001))
	if err := b.balancer.Halt(refOf(netip.AddrPortFrom(vip4, 21), netip.AddrPortFrom(b.server, 21))); err != nil {
		t.Fatal(err)
	}
	controls, expected := b.balancer.FTPState()
	if n := b.balancer.Stats().Connections; n != 0 || controls != 0 || expected != 0 {
		t.Errorf("%d connections, %d control connections, %d expectations are left", n, controls, expected)
	}
}

func TestFTPDataIsCountedAtItsServer(t *testing.T) {
	b := startFTP(t, vip4)
	b.fromServer(forward.FlagACK, pasv(b.server, 40000))
	b.connect(33333, 40000)
	for _, s := range b.balancer.Stats().Services[0].Servers {
		want := uint64(0)
		if s.Address == b.server {
			want = 2
		}
		if s.Connections != want || s.Active != int64(want) || s.Inactive != 0 {
			t.Errorf("%s: %d connections, %d active, %d inactive, want %d active", s.Name, s.Connections, s.Active, s.Inactive, want)
		}
	}
}

// With NAT this is how data connections get through that golb cannot read of, since
// the control connection is encrypted.
func TestFTPPersistentServicesTakeDataPorts(t *testing.T) {
	for _, method := range []lb.Method{lb.DSR, lb.TUN, lb.NAT} {
		s := ftpService(vip4, method)
		s.Persistence.Timeout = time.Minute
		b := start(t, lb.Config{Services: []lb.Service{s}})
		for n := range 6 {
			from := client(n)
			control := b.picks(from, netip.AddrPortFrom(vip4, 21))
			for _, port := range []uint16{20, 1024, 40000, 65535} {
				if got := b.picks(netip.AddrPortFrom(from.Addr(), 3000+port%100), netip.AddrPortFrom(vip4, port)); got != control || got == 0 {
					t.Errorf("%s: data to port %d went to server %d, want %d", method, port, got, control)
				}
			}
			// Active: what golb sees first is the client's answer to the server.
			frames := b.send(netip.AddrPortFrom(from.Addr(), 4000), netip.AddrPortFrom(vip4, 20), forward.FlagSYN|forward.FlagACK)
			if len(frames) != 1 || frames[0].Data[5] != control {
				t.Errorf("%s: the client's SYN-ACK went to %d servers, want server %d", method, len(frames), control)
			}
			for _, port := range []uint16{22, 80, 1023} {
				if got := b.picks(from, netip.AddrPortFrom(vip4, port)); got != 0 && got < 4 {
					t.Errorf("%s: port %d went to server %d", method, port, got)
				}
			}
		}
		if got := b.picks(netip.AddrPortFrom(client(99).Addr(), 20), netip.AddrPortFrom(vip4, 21)); got != 0xfe {
			t.Errorf("%s: a SYN from port 20 went to %d, want a reset to the client", method, got)
		}
	}
}

func TestFTPWithoutPersistenceHasNoOtherPorts(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{ftpService(vip4, lb.DSR)}})
	for _, port := range []uint16{20, 1024, 40000} {
		frames := b.send(client(1), netip.AddrPortFrom(vip4, port), forward.FlagSYN)
		if len(frames) != 1 || forward.MAC(frames[0].Data) != clientMAC || frames[0].Data[14+9] != 6 {
			t.Errorf("port %d: %d frames, want a reset to the client", port, len(frames))
		}
	}
}
