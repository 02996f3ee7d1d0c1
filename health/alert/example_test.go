package alert_test

import (
	"context"
	"fmt"

	"github.com/golb/golb/health/alert"
)

// Two events at once are one message. Run, which a program keeps running, sends what is
// left when it ends.
func ExampleNotifier() {
	printer := alert.SenderFunc(func(_ context.Context, m alert.Message) error {
		fmt.Printf("%s\n%s", m.Subject, m.Text)
		return nil
	})
	n := alert.New(alert.Config{Name: "lb1", Senders: []alert.Sender{printer}})
	n.Add(alert.Event{Key: "web 1", Service: "web", Server: "web1", State: "down", Reason: "connection refused", Action: "2 of 3 servers up"})
	n.Add(alert.Event{Key: "web 2", Service: "web", Server: "web2", State: "up"})

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// lb1: web: web2 is up; web: web1 is down
	// web: web1 is down: connection refused; 2 of 3 servers up
	// web: web2 is up
}
