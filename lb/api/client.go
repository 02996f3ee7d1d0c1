package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// maxAnswer bounds an answer in bytes: that of some 50,000 servers.
const maxAnswer = 256 << 20

// Client asks the balancer behind a socket.
type Client struct {
	Path string // "" means DefaultPath
}

// Health asks how all servers are.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	return h, c.get(ctx, pathHealth, &h)
}

func (c *Client) get(ctx context.Context, what string, into any) error {
	path := c.Path
	if path == "" {
		path = DefaultPath()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://golb"+what, nil)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return unreachable(ctx, path, err)
	}
	defer resp.Body.Close()
	in := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var f failure
		_ = in.Decode(&f) // without a reason the status has to do
		return fmt.Errorf("api: %s: %s: %s", path, resp.Status, f.Error)
	}
	if err := in.Decode(into); err != nil {
		return fmt.Errorf("api: %s: %s: %w", path, what, err)
	}
	return nil
}

// ErrNotRunning is what calls fail with where no balancer serves a socket.
var ErrNotRunning = errors.New("golb does not run, or serves another socket")

// unreachable says why nobody answers at a socket.
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
