package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load drives n requests through the VIP with as many clients as the weights add up
// to, so that kept-alive connections too share out by weight. With keepAlive each
// client sends all of its requests over one connection.
func (s *site) load(ctx context.Context, n int, keepAlive bool, done *atomic.Int64) ([]answer, error) {
	url := s.url(fmt.Sprintf("/data?bytes=%d", bodySize))
	want, err := io.ReadAll(newPattern(bodySize))
	if err != nil {
		return nil, err
	}
	answers := make([]answer, n)
	clients := s.weights()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c := newHTTPClient(s.client.DialContext, keepAlive)
			defer c.CloseIdleConnections()
			for j := i; j < n && ctx.Err() == nil; j += clients {
				answers[j] = fetch(ctx, c, url, want)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return answers, ctx.Err()
}

// stream sends requests at a steady rate, a connection each, whether or not earlier
// ones were answered, until ctx ends. It returns when all have been.
func (s *site) stream(ctx context.Context, every time.Duration) ([]answer, error) {
	want, err := io.ReadAll(newPattern(bodySize))
	if err != nil {
		return nil, err
	}
	url := s.url(fmt.Sprintf("/data?bytes=%d", bodySize))
	c := newHTTPClient(s.client.DialContext, false)
	var mu sync.Mutex
	var answers []answer
	var wg sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return answers, nil
		case <-tick.C:
			wg.Go(func() {
				// Not ctx: its end stops new requests, not those that are under way.
				a := fetch(context.WithoutCancel(ctx), c, url, want)
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, a)
			})
		}
	}
}

// transfers uploads and downloads size bytes, a connection each, and compares sums.
func (s *site) transfers(ctx context.Context, size int64) (up, down transfer, err error) {
	want, err := patternSum(size)
	if err != nil {
		return up, down, err
	}
	c := newHTTPClient(s.client.DialContext, false)
	if up, err = upload(ctx, c, s.url("/sum"), size, want); err != nil {
		return up, down, err
	}
	down, err = download(ctx, c, s.url("/data"), size, want)
	return up, down, err
}

// percentile returns the value below which p of 100 answers took, of those that
// came; 0 where none did.
func percentile(answers []answer, p float64) time.Duration {
	var d []time.Duration
	for _, a := range answers {
		if a.err == nil {
			d = append(d, a.end.Sub(a.start))
		}
	}
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(float64(len(d))*p/100))]
}
