package lb_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// Two routers lead to clients. The host's route is to an address that the second has.
var (
	firstRouter  = forward.MAC{2, 0, 0, 0, 0xa, 1}
	secondRouter = forward.MAC{2, 0, 0, 0, 0xa, 2}
	routerAddr   = netip.MustParseAddr("192.0.2.254")
)

// repliesOf is a NAT service with one client, whose packets come from a router.
type repliesOf struct {
	*faultyHost
	proto  lb.Protocol
	client netip.AddrPort
}

func newReplies(t *testing.T, proto lb.Protocol, byRoute bool) (r *repliesOf, stop func()) {
	t.Helper()
	r = &repliesOf{newFaultyHost(t), proto, client(1)}
	r.route(r.client.Addr(), lb.Route{Interface: "front", Gateway: routerAddr}, nil)
	r.links["front"].set(routerAddr, faultyNeighbor{mac: secondRouter})
	s := service(vip4, 1)
	s.Method, s.Protocol = lb.NAT, proto
	cfg := oneService(s)
	cfg.Settings.ReplyByRoute = byRoute
	return r, r.run(cfg)
}

func (r *repliesOf) request(from forward.MAC) {
	r.t.Helper()
	got := r.send("front", lbtest.Packet{
		SrcMAC: from, DstMAC: faultyMACs["front"], Src: r.client, Dst: netip.AddrPortFrom(vip4, 80), Protocol: r.proto, Flags: forward.FlagSYN,
	})
	if got.to != serverMAC(server4(1)) {
		r.t.Fatalf("a request went to %s", got.to)
	}
}

// reply has the server send a packet, and checks where it goes.
func (r *repliesOf) reply(when string, want forward.MAC) {
	r.t.Helper()
	got := r.send("back", lbtest.Packet{
		SrcMAC: serverMAC(server4(1)), DstMAC: faultyMACs["back"], Src: netip.AddrPortFrom(server4(1), 80), Dst: r.client, Protocol: r.proto, Flags: forward.FlagSYN | forward.FlagACK,
	})
	if got.to != want || got.wire != "front" {
		r.t.Errorf("%s: a reply went to %s by %s, want to %s", when, got.to, got.wire, want)
	}
}

// silence is longer than a hop may be silent.
const silence = 1300 * time.Millisecond

// TestRepliesFollowARouterThatDied: also where the client sends nothing of which to learn
// that.
func TestRepliesFollowARouterThatDied(t *testing.T) {
	for name, proto := range map[string]lb.Protocol{"TCP": lb.TCP, "UDP": lb.UDP} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := newReplies(t, proto, false)
				defer stop()
				r.request(firstRouter)
				r.reply("at once", firstRouter)
				time.Sleep(20 * time.Second)
				r.reply("after a pause", firstRouter)
				time.Sleep(silence)
				r.reply("the router is silent, though used", secondRouter)
				time.Sleep(20 * time.Second)
				r.reply("later", secondRouter)
				r.request(firstRouter)
				r.reply("it is back", firstRouter)
				time.Sleep(silence)
				r.reply("a reply", firstRouter)
				r.request(secondRouter)
				r.reply("the client comes from the other", secondRouter)
			})
		})
	}
}

// TestRepliesGoBackWhereTheRouteLeadsElsewhere: as long as packets come from there.
func TestRepliesGoBackWhereTheRouteLeadsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newReplies(t, lb.TCP, false)
		defer stop()
		for range 20 {
			r.request(firstRouter)
			time.Sleep(20 * time.Second)
			r.reply("after a pause", firstRouter)
			time.Sleep(silence / 2)
			r.reply("soon after", firstRouter)
		}
	})
}

func TestRepliesWithoutARouteStayWithTheRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newReplies(t, lb.UDP, false)
		defer stop()
		r.route(r.client.Addr(), lb.Route{}, errNoRoute)
		time.Sleep(settle)
		r.request(firstRouter)
		for range 5 {
			r.reply("the router is silent", firstRouter)
			time.Sleep(silence)
		}
	})
}

func TestRepliesByRouteDoNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newReplies(t, lb.TCP, true)
		defer stop()
		r.request(firstRouter)
		r.reply("by route", secondRouter)
	})
}

// TestManyMACsDoNotUseUpHops: once their connections are gone, others' packets are learned
// from again.
func TestManyMACsDoNotUseUpHops(t *testing.T) {
	if testing.Short() {
		t.Skip("70,000 packets")
	}
	synctest.Test(t, func(t *testing.T) {
		r, stop := newReplies(t, lb.UDP, false)
		defer stop()
		r.client = client(2) // to whom no route leads
		r.route(r.client.Addr(), lb.Route{}, errNoRoute)
		time.Sleep(settle)
		p := lbtest.Packet{DstMAC: faultyMACs["front"], Src: client(3), Dst: netip.AddrPortFrom(vip4, 80), Protocol: lb.UDP}
		f := p.Frame()
		for n := range 70_000 {
			binary.BigEndian.PutUint32(f.Data[8:], uint32(n))
			f.Data[6], f.Data[7] = 2, 9
			r.wires["front"].Inject(f)
		}
		r.wires["back"].Inject()
		time.Sleep(settle)
		r.request(firstRouter)
		r.reply("after the flood", firstRouter)
	})
}

// TestScanIsNotAskedForForEver: packets of a server to addresses on the link that no host
// has.
func TestScanIsNotAskedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newReplies(t, lb.TCP, false)
		defer stop()
		front := r.links["front"]
		front.empty = true
		at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 16, byte(n >> 8), byte(n)}) }
		there := at(999)
		front.set(there, faultyNeighbor{mac: firstRouter})
		probe := func(to netip.Addr) (passed bool) {
			return r.send("back", lbtest.Packet{
				SrcMAC: serverMAC(server4(1)), DstMAC: faultyMACs["back"], Src: netip.AddrPortFrom(server4(1), 5000), Dst: netip.AddrPortFrom(to, 80), Flags: forward.FlagSYN,
			}).to == firstRouter
		}
		for n := range 16_000 {
			r.mu.Lock()
			r.routes[at(n)] = faultyRoute{lb.Route{Interface: "front"}, nil}
			r.mu.Unlock()
			if passed := probe(at(n)); passed != (n == 999) {
				t.Fatalf("packet %d was passed on: %v", n, passed)
			}
			if asked := front.following(); asked > 300 {
				t.Fatalf("%d neighbors are asked for at once", asked)
			}
		}
		if !probe(there) {
			t.Error("a neighbor that answers was forgotten")
		}
		time.Sleep(settle)
		if asked := front.following(); asked != 1 {
			t.Errorf("%d neighbors are asked for, want the one that answers", asked)
		}
		time.Sleep(time.Minute)
		if asked := front.following(); asked != 0 {
			t.Errorf("%d neighbors are asked for, and none is used", asked)
		}
		if !probe(there) {
			t.Error("a neighbor that answers is not found again")
		}
	})
}
