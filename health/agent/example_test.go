package agent_test

import (
	"context"
	"fmt"
	"net"

	"github.com/golb/golb/health/agent"
)

// half is a resource of which half is free.
type half struct{}

func (half) Free(context.Context) (float64, error) { return 50, nil }

// An agent, and a balancer's query of it.
func ExampleServer() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &agent.Server{Sources: []agent.Source{half{}}}
	go server.Serve(ctx, listener)

	client := &agent.Client{Addr: listener.Addr().(*net.TCPAddr).AddrPort()}
	report, err := client.Query(ctx)
	fmt.Printf("%d%% %v; of weight 8: %d for an appliance, %d for HAProxy\n", report.Percent, err, report.IdleWeight(8), report.Weight(8))
	// Output: 50% <nil>; of weight 8: 40 for an appliance, 4 for HAProxy
}

func ExampleParse() {
	report, err := agent.Parse("down 10% # disk full")
	fmt.Println(report.Health == agent.Down, report.Percent, report.Reason, err)

	_, err = agent.Parse("fine")
	fmt.Println(err)
	// Output:
	// true 10 disk full <nil>
	// agent: got "fine": "fine" is no word of an agent, and no number from 0 to 10000
}
