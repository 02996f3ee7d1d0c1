package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/golb/golb/lb"
)

// maxAnswer bounds a response in bytes; it is enough for some 50,000 servers.
const maxAnswer = 256 << 20

// Client is a client of the balancer that serves a socket. Its methods are safe for
// concurrent use. They fail with ErrNotRunning where no balancer serves the socket, and with
// RefusedError where it finds a mistake in the request.
type Client struct {
	Path string // "" means DefaultPath
}

// Health returns the health of all services and servers.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	return h, c.get(ctx, pathHealth, &h)
}

// Stats returns all services and servers with their counters.
func (c *Client) Stats(ctx context.Context) (lb.Stats, error) {
	var st lb.Stats
	return st, c.get(ctx, pathServices, &st)
}

// UpdateServers changes the weight or state of servers.
func (c *Client) UpdateServers(ctx context.Context, u ServerUpdate) (UpdateResult, error) {
	body, err := json.Marshal(u)
	if err != nil {
		return UpdateResult{}, fmt.Errorf("api: %w", err)
	}
	var done UpdateResult
	return done, c.call(ctx, http.MethodPost, pathServers, body, &done)
}

// Connections calls yield with each connection that the filter chooses, in no order, until
// it returns false.
func (c *Client) Connections(ctx context.Context, f Filter, yield func(lb.Connection) bool) error {
	what := pathConnections + "?" + f.query().Encode()
	return c.ask(ctx, http.MethodGet, what, nil, func(body io.Reader) error {
		for in := json.NewDecoder(body); ; {
			var one lb.Connection
			switch err := in.Decode(&one); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			if !yield(one) {
				return nil
			}
		}
	})
}

// DeleteConnections ends the connections or templates that the filter chooses, and returns
// how many.
func (c *Client) DeleteConnections(ctx context.Context, f Filter) (int, error) {
	var n Deleted
	err := c.call(ctx, http.MethodDelete, pathConnections+"?"+f.query().Encode(), nil, &n)
	return n.Deleted, err
}

func (c *Client) get(ctx context.Context, what string, into any) error {
	return c.call(ctx, http.MethodGet, what, nil, into)
}

// call makes a request whose response is one JSON value.
func (c *Client) call(ctx context.Context, method, what string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.ask(ctx, method, what, body, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(into)
	})
}

// ask makes a request, and has read read the response.
func (c *Client) ask(ctx context.Context, method, what string, body []byte, read func(io.Reader) error) error {
	path := c.Path
	if path == "" {
		path = DefaultPath()
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://golb"+what, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return unreachable(ctx, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var f failure
		_ = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&f)
		if f.Error != "" && resp.StatusCode/100 == 4 {
			return &RefusedError{resp.StatusCode, f.Error}
		}
		return fmt.Errorf("api: %s: %s: %s", path, resp.Status, f.Error)
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("api: %s: %s: %w", path, what, err)
	}
	return nil
}

// RefusedError is a balancer's response to a mistake.
type RefusedError struct {
	Status int // of HTTP, 400 to 499
	Reason string
}

func (e *RefusedError) Error() string { return e.Reason }

// ErrNotRunning is the error of calls where no balancer serves the socket.
var ErrNotRunning = errors.New("golb does not run, or serves another socket")

// unreachable returns the error of a socket that cannot be reached.
func unreachable(ctx context.Context, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no balancer at %s: %w", path, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: it belongs to the user that golb runs as", path)
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return fmt.Errorf("%s: no answer within %v", path, patience)
	}
	return fmt.Errorf("%s: %w", path, err)
}
