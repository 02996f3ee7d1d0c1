package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// loses is a server that gets no more than the n+1st datagram and answers it, and
// notes when each was sent.
func loses(t *testing.T, n int, answer func([]byte) []byte, sent *[]time.Duration) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		begin, first := time.Now(), []byte(nil)
		go func() {
			defer far.Close()
			in := make([]byte, 4096)
			for i := 0; ; i++ {
				got, err := far.Read(in)
				if err != nil {
					return
				}
				*sent = append(*sent, time.Since(begin))
				if i == 0 {
					first = slices.Clone(in[:got])
				} else if !slices.Equal(first, in[:got]) {
					t.Errorf("sent %q again as %q", first, in[:got])
				}
				if i == n {
					_, _ = far.Write(answer(in[:got]))
				}
			}
		}()
		return near, nil
	}
}

func TestLostDatagramsAreSentAgain(t *testing.T) {
	const never = 1000
	ms := func(at ...int) (all []time.Duration) {
		for _, n := range at {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	sip := func([]byte) []byte { return []byte("SIP/2.0 200 OK\r\n\r\n") }
	echo := func(in []byte) []byte { return in }
	radius := func() *RADIUS { return &RADIUS{Login: "bob", Password: "hello", Secret: "s3cret"} }
	tests := []struct {
		name    string
		check   func(DialFunc) Checker
		answer  func([]byte) []byte
		lost    int
		timeout time.Duration
		want    string
		sent    []time.Duration
	}{
		{"SIP", func(d DialFunc) Checker { return &SIP{Addr: somewhere, Dial: d} }, sip, 2, 3 * time.Second, "", ms(0, 500, 1500)},
		{"SIP, silent", func(d DialFunc) Checker { return &SIP{Addr: somewhere, Dial: d} }, sip, never, 16 * time.Second,
			"OPTIONS: no answer in time", ms(0, 500, 1500, 3500, 7500, 11500, 15500)},
		{"DNS", func(d DialFunc) Checker { return &DNS{Addr: somewhere, Dial: d} }, nameServer(t, 0, nil), 1, 3 * time.Second, "", ms(0, 1000)},
		{"DNS, silent", func(d DialFunc) Checker { return &DNS{Addr: somewhere, Dial: d} }, nil, never, 8 * time.Second,
			"SOA .: no answer in time", ms(0, 1000, 3000, 7000)},
		{"RADIUS", func(d DialFunc) Checker { c := radius(); c.Addr, c.Dial = somewhere, d; return c },
			radiusServer(t, 2, "s3cret"), 1, 3 * time.Second, "", ms(0, 2000)},
		{"RADIUS, silent", func(d DialFunc) Checker { c := radius(); c.Addr, c.Dial = somewhere, d; return c },
			nil, never, time.Minute, "Access-Request: no answer in time: the server is down, or does not know this host or its secret", ms(0, 2000, 6000, 14000, 30000, 46000)},
		{"UDP with an answer", func(d DialFunc) Checker { return &UDP{Addr: somewhere, Reply: true, Dial: d} }, echo, 1, 3 * time.Second, "", ms(0, 1000)},
		{"UDP, silence is up", func(d DialFunc) Checker { return &UDP{Addr: somewhere, Wait: 5 * time.Second, Dial: d} }, nil, never, 12 * time.Second, "", ms(0)},
		{"timeout before the first repetition", func(d DialFunc) Checker { return &DNS{Addr: somewhere, Dial: d} }, nil, never, time.Second,
			"SOA .: no answer in time", ms(0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []time.Duration
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				got := reasonOf(tt.check(loses(t, tt.lost, tt.answer, &sent)).Check(ctx))
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				synctest.Wait()
				if !slices.Equal(sent, tt.sent) {
					t.Errorf("sent after %v, want %v", sent, tt.sent)
				}
			})
		})
	}
}

// goneLater is a host that loses the first datagram and refuses the second.
type goneLater struct {
	net.Conn
	sent int
}

func (g *goneLater) Write(p []byte) (int, error) {
	if g.sent++; g.sent == 2 {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.ECONNREFUSED}
	}
	return g.Conn.Write(p)
}

func TestRepetitionThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return &goneLater{Conn: near}, nil
		}
		c := &DNS{Addr: somewhere, Dial: dial}
		if got, want := checkOnce(t, c), "SOA .: ICMP port unreachable: nobody listens there"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestLostDatagramOnLoopback is what the pipes of the other tests are not: sockets.
func TestLostDatagramOnLoopback(t *testing.T) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		in := make([]byte, 4096)
		for i := 0; ; i++ {
			_, from, err := conn.ReadFromUDPAddrPort(in)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if i == 1 {
				_, _ = conn.WriteToUDPAddrPort([]byte("SIP/2.0 200 OK\r\n\r\n"), from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := timeout(t, 30*time.Second)
	defer cancel()
	c := &SIP{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	if err := c.Check(ctx); err != nil {
		t.Error(err)
	}
}
