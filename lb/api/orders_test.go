package api

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golb/golb/lb"
)

// TestOrdersAreLoggedWithWhoGaveThem: each change through the socket is in the log, with the
// process that asked for it; what was refused, and what only reads, is not.
func TestOrdersAreLoggedWithWhoGaveThem(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "golb.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- Serve(ctx, l, Handler(newTestBalancer(t), LogOrders(slog.New(slog.NewTextHandler(&log, nil)))))
	}()
	c := &Client{Path: path}
	order := func(u ServerUpdate) {
		if _, err := c.UpdateServers(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
	order(ServerUpdate{Server: "s1", Weight: new(7)})
	order(ServerUpdate{Server: "s1", Service: "web", State: lb.StateDrain, Within: "5m"})
	if _, err := c.UpdateServers(t.Context(), ServerUpdate{Server: "s9", Weight: new(7)}); err == nil {
		t.Error("there is no s9")
	}
	if _, err := c.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	for _, templates := range []bool{false, true} {
		if _, err := c.DeleteConnections(t.Context(), Filter{Service: "web", Templates: templates}); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	want := []string{
		`msg="order carried out" server=s1 services=2 weight=7`,
		`msg="order carried out" server=s1 service=web state=drain within=5m`,
		`msg="connections ended" number=0 filter="service=web"`,
		`msg="templates ended" number=0 filter="service=web&templates=true"`,
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("logged %q", lines)
	}
	by := fmt.Sprintf(`by="uid %d, pid %d (`, os.Getuid(), os.Getpid())
	for i, line := range lines {
		if !strings.Contains(line, want[i]) || !strings.Contains(line, by) {
			t.Errorf("got %s, want %s and %s", line, want[i], by)
		}
	}
}
