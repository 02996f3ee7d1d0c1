package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stoppedMonitor is the environment variable with the server that the copy of the test
// binary is to check, which TestMonitorOfAStoppedProcess stops.
const stoppedMonitor = "HEALTH_TEST_STOPPED_MONITOR"

// A process is stopped while its check is under way, and continued when half of the
// check's timeout and more has passed: the failure that it then sees does not count.
func TestMonitorOfAStoppedProcess(t *testing.T) {
	if addr := os.Getenv(stoppedMonitor); addr != "" {
		runStoppedMonitor(t, netip.MustParseAddrPort(addr))
		return
	}
	if testing.Short() {
		t.Skip("stops a process for seconds")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMonitorOfAStoppedProcess$", "-test.v")
	cmd.Env = append(os.Environ(), stoppedMonitor+"="+l.Addr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}()

	answer := func(n int, serve func()) {
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("check %d: %v", n, err)
		}
		defer conn.Close()
		serve()
		_, _ = io.WriteString(conn, "OK\n")
	}
	answer(1, func() {})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(stoppedTimeout/2 + time.Second)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // a failure
	answer(3, func() {})

	var result string
	for lines := bufio.NewScanner(out); result == "" && lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "result: ") {
			result = line
		}
	}
	if want := "result: up; 2 passed or failed, 1 not tried; events: up"; result != want {
		t.Errorf("got  %s\nwant %s", result, want)
	}
}

const stoppedTimeout = 5 * time.Second

// runStoppedMonitor checks a server until three checks are over.
func runStoppedMonitor(t *testing.T, addr netip.AddrPort) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var events []string
	m := NewMonitor(Config{
		OnEvent: func(e Event) { events = append(events, e.State.String()) },
		Rand:    func() float64 { return 0 },
	})
	m.onResult = func() {
		if m.checks+m.notTried == 3 {
			cancel()
		}
	}
	m.Set([]Target{{Key: "a", Checker: &SimpleTCP{Addr: addr, Expect: mustExpect("OK")},
		Settings: Settings{Interval: 100 * time.Millisecond, Timeout: stoppedTimeout, Fall: 1}}})
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	load := m.Load()
	fmt.Printf("result: %s; %d passed or failed, %d not tried; events: %s\n", m.Status()[0].State, load.Checks, load.NotTried, strings.Join(events, " "))
}
