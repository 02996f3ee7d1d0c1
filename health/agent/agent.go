// Package agent is the feedback of servers about their load: a [Client] queries the
// agent on a server, a [Server] is one. It has the protocols of load balancing
// appliances and of HAProxy's agent-check.
//
// An agent answers a TCP connection, or an HTTP GET, with one line: a number, which is a
// percentage, words, or both, and a reason behind a #: "75%", "drain", "up 50%", "down #
// disk full". Agents of appliances send how idle the server is, those of HAProxy which
// part of its weight it is to have; see [Report.IdleWeight] and [Report.Weight].
//
// Errors and reasons are one line without control characters, whatever the agent sends;
// at most 4096 bytes of it are read. An error wraps the system's, where it is one. A
// Client is safe for concurrent use as long as its fields are not changed, a Server
// always.
package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/golb/golb/health/internal/budget"
	"github.com/golb/golb/health/printable"
)

// Port is the default port of appliances' agents.
const Port = 3333

const (
	maxAnswer = 4096 // bytes that are read of an agent
	maxReason = 300  // bytes of a reason or an error
)

// Client queries one agent. It is a health.Checker too: up while the agent answers and
// does not report its server down. Whether an agent that does not answer means anything
// for its server is the caller's choice; for HAProxy it does not.
type Client struct {
	Addr netip.AddrPort
	HTTP bool   // send a GET; else the agent sends first
	Path string // of the GET; "" means /
	Send string // text to send before reading, with its line end; not with HTTP
	// OnReport is called with every report, from the goroutine of Check; nil ignores
	// them.
	OnReport func(Report)
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil is the host's own
}

// Check queries the agent once.
func (c *Client) Check(ctx context.Context) error {
	r, err := c.Query(ctx)
	if err != nil {
		return err
	}
	if c.OnReport != nil {
		c.OnReport(r)
	}
	if r.Health == Down {
		return fmt.Errorf("agent reports %s: %s", r.Word, strconv.Quote(r.Reason))
	}
	return nil
}

// Query returns the agent's report. It ends with ctx.
func (c *Client) Query(ctx context.Context) (Report, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", c.Addr.String())
	if err != nil {
		return Report{}, fmt.Errorf("agent: connect to %s: %w", c.Addr, netReason(ctx, err))
	}
	defer conn.Close()
	if at, limited := ctx.Deadline(); limited {
		_ = conn.SetDeadline(at) // the next read returns the error
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answer, err := c.readAnswer(conn)
	if err != nil {
		return Report{}, fmt.Errorf("agent: %w", netReason(ctx, err))
	}
	return Parse(answer)
}

// readAnswer reads the agent's line.
func (c *Client) readAnswer(conn net.Conn) (string, error) {
	limited := &budget.Reader{From: conn, Left: maxAnswer, Spent: io.EOF}
	line, err := c.exchange(conn, bufio.NewReader(limited))
	if err != nil && limited.Left <= 0 {
		return "", fmt.Errorf("no answer in the first %d bytes", maxAnswer)
	}
	if err != nil && limited.Err != nil {
		err = limited.Err
	}
	return line, err
}

// exchange sends what the protocol requires and reads the line.
func (c *Client) exchange(conn net.Conn, in *bufio.Reader) (string, error) {
	if !c.HTTP {
		if c.Send != "" {
			if _, err := io.WriteString(conn, c.Send); err != nil {
				return "", err
			}
		}
		return firstLine(in)
	}
	path := c.Path
	if path == "" {
		path = "/"
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return "", fmt.Errorf("path %q: not a request target", path)
	}
	u.Scheme, u.Host = "http", c.Addr.String()
	req := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"User-Agent": {"golb"}}, Close: true}
	if err := req.Write(conn); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("got %s, want 200", resp.Status)
	}
	return firstLine(bufio.NewReader(resp.Body))
}

// firstLine reads up to the end of a line or of the answer.
func firstLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if errors.Is(err, io.EOF) && len(line) < maxAnswer && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}

// netReason returns a network error without the operation and the addresses; every kind
// of timeout becomes the same.
func netReason(ctx context.Context, err error) error {
	var op *net.OpError
	var errno syscall.Errno
	switch {
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("connection closed")
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &op):
		return op.Err
	}
	return printable.Error(err, maxReason)
}
