package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golb/golb/health/internal/procgroup"
	"github.com/golb/golb/health/printable"
)

// Source measures a resource of a server: Free returns which part of it is free, in
// percent.
type Source interface {
	Free(ctx context.Context) (float64, error)
}

// Server is the agent of a server. Its answer is the least that any source has free, as
// in "75%". A source that fails is ignored while another one does not; where all fail
// the answer is "down" with the reason, and from then on "up 75%": HAProxy keeps a
// server down until an answer has that word. Do not change its fields once it serves.
type Server struct {
	Sources []Source
	HTTP    bool // answer GET requests; else each connection gets a line
	// Every is for how long a measurement is used; 0 means 1 s.
	Every time.Duration

	mu     sync.Mutex
	answer string
	taken  time.Time
	failed bool // an answer was down
}

// Serve answers clients of l until ctx ends, then closes l and returns nil; it returns an
// error where l fails. It serves 100 connections at a time, for 5 s each at most.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var group sync.WaitGroup
	defer group.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for places := make(chan struct{}, 100); ; {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return nil
		}
		group.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			s.serve(ctx, conn)
		})
	}
}

// serve answers one client. An error concerns that client alone.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	if !s.HTTP {
		_, _ = io.WriteString(conn, s.Answer(ctx)+"\n")
		return
	}
	req, err := http.ReadRequest(bufio.NewReader(io.LimitReader(conn, maxAnswer)))
	if err != nil {
		return
	}
	body := s.Answer(ctx) + "\n"
	resp := &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, Close: true,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	_ = resp.Write(conn)
}

// Answer returns the line that clients get now.
func (s *Server) Answer(ctx context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := s.Every
	if every == 0 {
		every = time.Second
	}
	if s.answer == "" || time.Since(s.taken) >= every {
		s.answer, s.taken = s.measureLocked(ctx), time.Now()
	}
	return s.answer
}

// measureLocked makes an answer; s.mu must be held.
func (s *Server) measureLocked(ctx context.Context) string {
	least, reason := 101.0, "no sources"
	for _, source := range s.Sources {
		free, err := source.Free(ctx)
		if err != nil {
			reason = err.Error()
			continue
		}
		least = min(least, max(0, min(100, free)))
	}
	if least > 100 {
		s.failed = true
		return "down # " + printable.Line(reason, maxReason)
	}
	percent := strconv.Itoa(int(least+0.5)) + "%"
	if s.failed {
		return "up " + percent
	}
	return percent
}

// Command is a Source that runs a program, which prints the number as its first word. The
// program gets no arguments but Args; nothing that it starts outlives it.
type Command struct {
	Program string
	Args    []string
	Timeout time.Duration // 0 means 2 s
}

// Free runs the program once.
func (c *Command) Free(ctx context.Context) (float64, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	out := procgroup.Head{Most: 100}
	cmd.Stdout = &out
	if err := procgroup.Run(cmd); err != nil {
		return 0, fmt.Errorf("%s: %w", c.Program, err)
	}
	return parsePercentage(c.Program, out.Bytes)
}

func parsePercentage(what string, out []byte) (float64, error) {
	tokens := strings.Fields(string(out))
	if len(tokens) > 0 {
		if n, err := strconv.ParseFloat(strings.TrimSuffix(tokens[0], "%"), 64); err == nil && n >= 0 && n <= 100 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: got %s, want a number from 0 to 100", what, quote(string(out)))
}

// CPU is a Source that measures how idle the processors were since the last time (Linux).
// Waiting for disks counts as idle.
type CPU struct {
	stat        string // "" is /proc/stat
	mu          sync.Mutex
	idle, total uint64
}

// Free returns the idle part of the time since the last call; at the first one, since the
// system started.
func (c *CPU) Free(context.Context) (float64, error) {
	file := c.stat
	if file == "" {
		file = "/proc/stat"
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	idle, total, err := cpuTimes(string(b))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	idle, c.idle = idle-c.idle, idle
	total, c.total = total-c.total, total
	if total == 0 {
		return 0, fmt.Errorf("%s: no time has passed", file)
	}
	return 100 * float64(idle) / float64(total), nil
}

// cpuTimes returns the idle and all ticks in the first line of /proc/stat: user, nice,
// system, idle, iowait, irq, softirq, steal; guest times are part of user.
func cpuTimes(stat string) (idle, total uint64, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("no line of all processors")
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		total += n
		if i == 3 || i == 4 {
			idle += n
		}
	}
	return idle, total, nil
}

// Memory is a Source that measures how much memory is available (Linux).
type Memory struct {
	meminfo string // "" is /proc/meminfo
}

// Free returns MemAvailable as a part of MemTotal.
func (m *Memory) Free(context.Context) (float64, error) {
	file := m.meminfo
	if file == "" {
		file = "/proc/meminfo"
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var all, left float64
	for line := range strings.SplitSeq(string(b), "\n") {
		_, _ = fmt.Sscanf(line, "MemTotal: %f kB", &all)
		_, _ = fmt.Sscanf(line, "MemAvailable: %f kB", &left)
	}
	if all == 0 {
		return 0, fmt.Errorf("%s: no MemTotal", file)
	}
	return 100 * left / all, nil
}
