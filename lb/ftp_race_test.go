package lb_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// Few clients on many workers: their connections, expectations and ports meet all
// the time, and are deleted meanwhile. In the end nothing may be left, and nothing
// be counted.
func TestFTPOnManyWorkersAtOnce(t *testing.T) {
	const workers, clients = 8, 3
	steps := 20_000
	if testing.Short() {
		steps = 3000
	}
	s := ftpService(vip4, lb.NAT)
	s.Persistence.Timeout = time.Minute
	b, handle, advance := lb.Workers(t, lb.Config{Workers: workers, MaxConnections: 1 << 10, Services: []lb.Service{s}})
	var forwarded atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range steps {
				forwarded.Add(int64(len(handle(w, anyFTPSegment(r, clients).Data))))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			f := lb.ConnectionFilter{Client: netip.PrefixFrom(ftpClient(i%clients), 32)}
			b.DeleteConnections(f)
			b.DeleteTemplates(f)
			time.Sleep(time.Millisecond)
		}
	}()
	wg.Wait()
	<-done
	if n := forwarded.Load(); n < int64(workers*steps/4) {
		t.Errorf("%d frames were forwarded of %d: this test shows little", n, workers*steps)
	}
	for range 30 {
		advance(10 * time.Minute)
	}
	st := b.Stats()
	controls, expected := b.FTPState()
	if st.Connections != 0 || controls != 0 || expected != 0 {
		t.Errorf("%d entries, %d control connections, %d expectations are left", st.Connections, controls, expected)
	}
	for _, s := range st.Services[0].Servers {
		if s.Active != 0 || s.Inactive != 0 || s.Templates != 0 {
			t.Errorf("%s counts %d active and %d inactive connections, %d templates", s.Name, s.Active, s.Inactive, s.Templates)
		}
	}
}

func ftpClient(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}) }

// anyFTPSegment is one of a control or data connection of a client with any of
// three servers.
func anyFTPSegment(r *rand.Rand, clients int) lbtest.Frame {
	client := ftpClient(r.IntN(clients))
	server, port := server4(1+r.IntN(3)), 40000+r.IntN(4)
	p := lbtest.Packet{
		SrcMAC: clientMAC, DstMAC: balancerMAC, Flags: []uint8{forward.FlagSYN, forward.FlagACK, forward.FlagACK, forward.FlagFIN | forward.FlagACK}[r.IntN(4)],
		Src: netip.AddrPortFrom(client, uint16(2000+r.IntN(2))), Dst: netip.AddrPortFrom(vip4, 21),
		Seq: uint32(r.IntN(100)), Ack: uint32(r.IntN(100)),
	}
	switch r.IntN(6) {
	case 0: // a command
		p.Payload = fmt.Appendf(nil, "PORT %s\r\n", hostPort(client, port))
	case 1: // a reply
		p.Src, p.Dst = netip.AddrPortFrom(server, 21), p.Src
		p.Payload = []byte(pasv(server, port))
	case 2: // passive data
		p.Dst = netip.AddrPortFrom(vip4, uint16(port))
	case 3: // active data
		p.Src, p.Dst = netip.AddrPortFrom(server, 20), netip.AddrPortFrom(client, uint16(port))
	}
	return p.Frame()
}
