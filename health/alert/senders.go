package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"

	"github.com/golb/golb/health/internal/procgroup"
	"github.com/golb/golb/health/printable"
)

// Webhook posts messages as JSON. The status of the answer must be 2xx; redirects are
// not followed.
type Webhook struct {
	URL    string
	Header http.Header       // added to the request, such as Authorization
	Client http.RoundTripper // nil makes a connection per message, and uses the proxy of the environment
}

// Send posts m.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	return printable.Error(w.send(ctx, m), maxText)
}

func (w *Webhook) send(ctx context.Context, m Message) error {
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

// Command runs a program for each message, with the subject as last argument and the
// text as standard input. The environment variable GOLB_ALERT has the message as JSON,
// unless that is longer than 64 KiB; of this process's environment it gets what a check of
// type external gets. Nothing that the program starts outlives it.
type Command struct {
	Program string
	Args    []string // before the subject
}

// Send runs the program, which must exit with status 0.
func (c *Command) Send(ctx context.Context, m Message) error {
	cmd := exec.CommandContext(ctx, c.Program, append(c.Args[:len(c.Args):len(c.Args)], m.Subject)...)
	cmd.Stdin = strings.NewReader(m.Text)
	cmd.Env = procgroup.Environ()
	if b, err := json.Marshal(m); err == nil && len(b) <= 64<<10 {
		cmd.Env = append(cmd.Env, "GOLB_ALERT="+string(b))
	}
	output := procgroup.Head{Most: 200}
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := procgroup.Run(cmd); err != nil {
		return fmt.Errorf("%s: %w: %q", c.Program, err, output.Bytes)
	}
	return nil
}
