package simulate_test

import (
	"fmt"
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/simulate"
	"github.com/golb/golb/sched"
)

// Where would this packet go?
func Example() {
	s, err := simulate.New(lb.Config{Services: []lb.Service{{
		VIP: netip.MustParseAddr("10.0.0.100"), Port: 80, Method: lb.NAT, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{
			{Address: netip.MustParseAddr("10.9.1.1"), Port: 8080},
			{Address: netip.MustParseAddr("10.9.1.2"), Port: 8080, Weight: new(3)},
		},
	}}}, simulate.World{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, dst := range []string{"10.0.0.100:80", "10.0.0.100:443"} {
		step, err := s.Send(lbtest.Packet{
			Src: netip.MustParseAddrPort("192.0.2.7:40000"), Dst: netip.MustParseAddrPort(dst), Flags: forward.FlagSYN,
		}.Bytes())
		if err != nil {
			fmt.Println(err)
			return
		}
		if step.Connection == nil {
			fmt.Println(dst, "dropped:", step.Reason)
			continue
		}
		fmt.Println(dst, "goes to", step.Connection.Server, "at", step.Frames[0].Dst)
	}
	// Output:
	// 10.0.0.100:80 goes to 10.9.1.2:8080 at 02:00:00:00:00:02
	// 10.0.0.100:443 dropped: no_service
}

// A program's own hooks decide in the simulator too.
func ExampleWorld_env() {
	s, err := simulate.New(lb.Config{Services: []lb.Service{{
		VIP: netip.MustParseAddr("10.0.0.100"), Port: 80, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{{Address: netip.MustParseAddr("10.9.1.1")}},
	}}}, simulate.World{Env: lb.Env{Admit: func(f *sched.Flow) bool { return f.SrcPort >= 1024 }}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	step, err := s.Send(lbtest.Packet{
		Src: netip.MustParseAddrPort("192.0.2.7:99"), Dst: netip.MustParseAddrPort("10.0.0.100:80"), Flags: forward.FlagSYN,
	}.Bytes())
	fmt.Println(step.Reason, err)
	// Output: not_admitted <nil>
}
