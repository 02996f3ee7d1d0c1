// Package exampletest tests examples as their users run them: built, started on a host of a
// lab, ended by a signal.
package exampletest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

// Lab returns a lab that ends with the test. Where the system forbids labs, it skips the test.
func Lab(t *testing.T) *lab.Lab {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Serve accepts TCP connections to an address of a host, writes to each what text returns
// for the client's address, and hangs up.
func Serve(t *testing.T, h *lab.Host, address string, text func(client string) string) {
	t.Helper()
	ln, err := h.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			client, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, text(client)) // fails for health checks that hang up at once
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}

// Ask makes n TCP connections from a host to an address, and counts each text that it reads.
func Ask(t *testing.T, client *lab.Host, address string, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		c, err := client.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		got[string(b)]++
	}
	return got
}

// Program is an example that runs.
type Program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// Start builds the program of the test's directory and starts it on a host.
func Start(t *testing.T, h *lab.Host, args ...string) *Program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "example")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(file, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return &Program{t, cmd, bufio.NewScanner(out)}
}

// Await reads what the program prints up to a line that holds text.
func (p *Program) Await(text string) {
	p.t.Helper()
	for p.lines.Scan() {
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	p.t.Fatalf("the program ended without %q: %v", text, p.lines.Err())
}

// Stop ends the program as an operator does, and fails the test unless it ends well.
func (p *Program) Stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	for p.lines.Scan() { // to the end, so that Wait does not cut it off
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}
