package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// bodySize is what each request of the load fetches.
	bodySize = 4096
	// patience is how long a client waits for an answer before it calls the request failed.
	patience = 5 * time.Second
	// transferPatience is that for the large transfers.
	transferPatience = 2 * time.Minute
)

// dialFunc opens connections from where the client is.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// answer is how one request went.
type answer struct {
	server     string // "" where none answered
	start, end time.Time
	bytes      int64
	err        error
}

func newHTTPClient(dial dialFunc, keepAlive bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:        dial,
		DisableKeepAlives:  !keepAlive,
		DisableCompression: true,
		WriteBufferSize:    copyBuffer,
		ReadBufferSize:     64 << 10,
	}}
}

// fetch asks for a small body and compares every byte of it.
func fetch(ctx context.Context, c *http.Client, url string, want []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a := answer{start: time.Now()}
	var body bytes.Buffer
	a.server, a.err = do(ctx, c, http.MethodGet, url, nil, 0, &body)
	a.end = time.Now()
	a.bytes = int64(body.Len())
	if a.err == nil && !bytes.Equal(body.Bytes(), want) {
		a.err = fmt.Errorf("GET %s from %s: %d bytes, not those that were sent", url, a.server, body.Len())
	}
	return a
}

// transfer is one large upload or download.
type transfer struct {
	server  string
	bytes   int64
	elapsed time.Duration
}

// mbps is the rate in megabits of payload per second.
func (t transfer) mbps() float64 { return float64(t.bytes) * 8 / 1e6 / t.elapsed.Seconds() }

// download fetches size bytes and fails where their SHA-256 is not want.
func download(ctx context.Context, c *http.Client, url string, size int64, want []byte) (transfer, error) {
	ctx, cancel := context.WithTimeout(ctx, transferPatience)
	defer cancel()
	sum := sha256.New()
	start := time.Now()
	server, err := do(ctx, c, http.MethodGet, fmt.Sprintf("%s?bytes=%d", url, size), nil, 0, sum)
	t := transfer{server, size, time.Since(start)}
	if err == nil && !bytes.Equal(sum.Sum(nil), want) {
		err = fmt.Errorf("download from %s: SHA-256 %x, want %x", server, sum.Sum(nil), want)
	}
	return t, err
}

// upload sends size bytes and fails where the server saw another SHA-256 than want.
func upload(ctx context.Context, c *http.Client, url string, size int64, want []byte) (transfer, error) {
	ctx, cancel := context.WithTimeout(ctx, transferPatience)
	defer cancel()
	var got bytes.Buffer
	start := time.Now()
	server, err := do(ctx, c, http.MethodPost, url, newPattern(size), size, &got)
	t := transfer{server, size, time.Since(start)}
	if err == nil && got.String() != hex.EncodeToString(want) {
		err = fmt.Errorf("upload to %s: SHA-256 %s, want %x", server, got.String(), want)
	}
	return t, err
}

// do makes a request and copies the answer's body to w.
func do(ctx context.Context, c *http.Client, method, url string, body io.Reader, size int64, w io.Writer) (server string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = size
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	server = resp.Header.Get(serverHeader)
	if _, err := io.CopyBuffer(onlyWriter{w}, resp.Body, make([]byte, min(copyBuffer, max(1, resp.ContentLength)))); err != nil {
		return server, fmt.Errorf("%s %s from %s: %w", method, url, server, err)
	}
	if resp.StatusCode != http.StatusOK {
		return server, fmt.Errorf("%s %s from %s: %s", method, url, server, resp.Status)
	}
	return server, nil
}

// patternSum is the SHA-256 of size bytes of the pattern.
func patternSum(size int64) ([]byte, error) {
	sum := sha256.New()
	_, err := io.CopyBuffer(onlyWriter{sum}, newPattern(size), make([]byte, copyBuffer))
	return sum.Sum(nil), err
}
