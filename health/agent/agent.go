// Package agent asks programs on the servers how busy they are, and answers such
// questions: the feedback agents of load balancing appliances, and HAProxy's
// agent-check.
//
// An agent answers a TCP connection, or an HTTP request, with one line: a number,
// which is a percentage, words, or both: "75%", "drain", "up 50%", "down # disk
// full". Appliances' agents say how idle the server is, HAProxy's which part of its
// weight it should have; see [Report.IdleWeight] and [Report.Weight].
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
)

// Port is where appliances' agents listen.
const Port = 3333

// maxAnswer bounds what is read of an agent, in bytes.
const maxAnswer = 4096

// Client asks one agent. As a health.Checker, on a monitor's schedule, it is up
// while the agent answers and does not say that the server is down; whether an
// agent that is silent says anything of its server is the caller's choice (HAProxy
// thinks not).
type Client struct {
	Addr netip.AddrPort
	HTTP bool   // ask with a GET; else the agent speaks first
	Path string // of the GET; "" means /
	Send string // text to send before reading, with its line end; not with HTTP
	// OnReport is told every report, from the goroutine of the check; nil is nobody.
	OnReport func(Report)
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil is the host's own
}

// Check asks once.
func (c *Client) Check(ctx context.Context) error {
	r, err := c.Ask(ctx)
	if err != nil {
		return err
	}
	if c.OnReport != nil {
		c.OnReport(r)
	}
	if r.Health == Down {
		return fmt.Errorf("agent says %s: %s", r.Word, strconv.Quote(r.Reason))
	}
	return nil
}

// Ask returns what the agent says. Its error is a one-line reason.
func (c *Client) Ask(ctx context.Context) (Report, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", c.Addr.String())
	if err != nil {
		return Report{}, fmt.Errorf("agent: connect to %s: %w", c.Addr, plain(ctx, err))
	}
	defer conn.Close()
	if at, limited := ctx.Deadline(); limited {
		_ = conn.SetDeadline(at) // the next read says what is wrong
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answer, err := c.answer(conn)
	if err != nil {
		return Report{}, fmt.Errorf("agent: %w", plain(ctx, err))
	}
	return Parse(answer)
}

// answer reads the agent's line.
func (c *Client) answer(conn net.Conn) (string, error) {
	from := &budget.Reader{From: conn, Left: maxAnswer, Spent: io.EOF}
	line, err := c.converse(conn, bufio.NewReader(from))
	if err != nil && from.Left <= 0 {
		return "", fmt.Errorf("no answer in the first %d bytes", maxAnswer)
	}
	if err != nil && from.Err != nil {
		err = from.Err
	}
	return line, err
}

func (c *Client) converse(conn net.Conn, in *bufio.Reader) (string, error) {
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

// firstLine reads up to a line's end or the end of all.
func firstLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if errors.Is(err, io.EOF) && len(line) < maxAnswer && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}

// plain makes one line of a network error, and calls every timeout the same.
func plain(ctx context.Context, err error) error {
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
	return err
}

// Health is whether an agent says that its server is up.
type Health uint8

// What an agent can say of its server; mostly nothing.
const (
	Silent Health = iota
	Up            // up
	Down          // down, fail, failed, stopped
)

// Admin is what an agent wants done with its server.
type Admin uint8

// What an agent can want; mostly nothing.
const (
	Keep  Admin = iota
	Ready       // ready: undo drain and maint
	Drain       // drain: no new connections
	Maint       // maint: no connections, no checks
)

// Report is an agent's answer.
type Report struct {
	Percent int // 0 to 10000; -1 where there was no number
	Health  Health
	Admin   Admin
	MaxConn int    // connections at a time; -1 where it was not said
	Word    string // the word that gave Health, for logs
	Reason  string // text behind a #, for logs
}

// Parse reads an answer: words and a number in any order, split by blanks or
// commas, and a reason behind a # (HAProxy's agent-check; its words are any case
// here). An answer without a word or number that is known is an error.
func Parse(line string) (Report, error) {
	r := Report{Percent: -1, MaxConn: -1}
	text, reason, _ := strings.Cut(line, "#")
	r.Reason = strings.TrimSpace(reason)
	said := false
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '\r' }) {
		word = strings.ToLower(word)
		if err := r.take(word); err != nil {
			return Report{}, fmt.Errorf("agent: got %s: %w", quote(line), err)
		}
		said = true
	}
	if !said {
		return Report{}, fmt.Errorf("agent: got %s, want a percentage or a word", quote(line))
	}
	return r, nil
}

func (r *Report) take(word string) error {
	switch word {
	case "up":
		r.Health, r.Word = Up, word
	case "down", "fail", "failed", "stopped":
		r.Health, r.Word = Down, word
	case "ready":
		r.Admin = Ready
	case "drain":
		r.Admin = Drain
	case "maint":
		r.Admin = Maint
	default:
		if n, ok := strings.CutPrefix(word, "maxconn:"); ok {
			return number(n, 1<<31-1, &r.MaxConn)
		}
		return number(strings.TrimSuffix(word, "%"), 10000, &r.Percent)
	}
	return nil
}

func number(s string, most int, n *int) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 || v > most {
		return fmt.Errorf("%s is no word of an agent, and no number from 0 to %d", quote(s), most)
	}
	*n = v
	return nil
}

func quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 80)]) }

// Weight is the part of a configured weight that a report asks for, as HAProxy
// computes it: Percent of it, at least 1 where neither is 0. Without a number it is
// the configured weight.
func (r Report) Weight(configured int) int {
	if r.Percent < 0 {
		return configured
	}
	return scale(configured, r.Percent, 100)
}

// IdleWeight takes the number for how idle the server is, in percent, and gives a
// tenth of it times the configured weight, as appliances do: an idle server has ten
// times its weight, so that small weights leave steps between busy and idle. At
// least 1 where neither is 0. Without a number it is the configured weight.
func (r Report) IdleWeight(configured int) int {
	if r.Percent < 0 {
		return configured
	}
	return scale(configured, min(r.Percent, 100), 10)
}

// scale is configured × n / of, rounded to the nearest, and at most 65535.
func scale(configured, n, of int) int {
	if configured <= 0 || n == 0 {
		return 0
	}
	return min(max(1, (configured*n+of/2)/of), 65535)
}
