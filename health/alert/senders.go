package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/golb/golb/health/internal/procgroup"
)

// Webhook posts messages as JSON. The answer must be 2xx; redirects are not
// followed.
type Webhook struct {
	URL    string
	Header http.Header       // more of the request, say Authorization
	Client http.RoundTripper // nil is a connection per message
}

// Send posts m.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if w.Header != nil {
		req.Header = w.Header.Clone()
	}
	req.Header.Set("Content-Type", "application/json")
	client := w.Client
	if client == nil {
		client = &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("webhook: got %s, want 2xx", resp.Status)
	}
	return nil
}

// Command runs a program for each message: its subject is the last argument, its
// text the standard input, the message as JSON the variable GOLB_ALERT (left out
// where it is longer than 64 KiB). Nothing the program starts outlives it.
type Command struct {
	Program string
	Args    []string
}

// Send runs the program; it must exit with 0.
func (c *Command) Send(ctx context.Context, m Message) error {
	cmd := exec.CommandContext(ctx, c.Program, append(c.Args[:len(c.Args):len(c.Args)], m.Subject)...)
	cmd.Stdin = strings.NewReader(m.Text)
	cmd.Env = os.Environ()
	if b, err := json.Marshal(m); err == nil && len(b) <= 64<<10 {
		cmd.Env = append(cmd.Env, "GOLB_ALERT="+string(b))
	}
	said := procgroup.Head{Most: 200}
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := procgroup.Run(cmd); err != nil {
		return fmt.Errorf("%s: %w: %q", c.Program, err, said.Bytes)
	}
	return nil
}
