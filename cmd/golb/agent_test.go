package main

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/golb/golb/health/agent"
)

func TestAgentAnswersWithTheLeastRoom(t *testing.T) {
	for _, tt := range []struct {
		flags string
		want  int
	}{
		{"--cpu=false -- echo 37", 37},
		{"--cpu=false --memory --http -- echo 0%", 0},
		{"-- echo 0", 0},
	} {
		t.Run(tt.flags, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			ctx, cancel := context.WithCancel(t.Context())
			read, written := io.Pipe()
			code := make(chan int)
			go func() {
				defer written.Close()
				code <- execute(ctx, strings.Fields("agent --listen 127.0.0.1:0 "+tt.flags), io.Discard, written)
			}()
			line, err := bufio.NewReader(read).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			addr, _, _ := strings.Cut(strings.TrimPrefix(line, "answering on "), ",")
			c := agent.Client{Addr: netip.MustParseAddrPort(addr), HTTP: strings.Contains(tt.flags, "--http")}
			asking, done := context.WithTimeout(ctx, 10*time.Second)
			defer done()
			if r, err := c.Query(asking); err != nil || r.Percent != tt.want {
				t.Errorf("got %+v, %v; want %d%%", r, err, tt.want)
			}
			cancel()
			if got := <-code; got != exitOK {
				t.Errorf("exit code %d", got)
			}
		})
	}
}

func TestAgentRefusesCommandLines(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"agent --cpu=false", "nothing to measure; allowed: --cpu, --memory, a program behind --"},
		{"agent --listen 127.0.0.1:http80", `--listen "127.0.0.1:http80": allowed: ADDRESS:PORT`},
		{"agent uptime", `"uptime": a program to run is named behind --`},
	} {
		if code, _, stderr := golb(t, strings.Fields(tt.args)...); code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, %q; want %s", tt.args, code, stderr, tt.want)
		}
	}
	if code, _, stderr := golb(t, "agent", "--listen", "192.0.2.1:3333"); code != exitFailed || !strings.HasPrefix(stderr, "golb: listen tcp") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
