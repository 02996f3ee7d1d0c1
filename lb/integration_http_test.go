package lb_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// Super-packets of 64 KiB with unfinished checksums one way, bare acknowledgements
// the other: default offloads, as a veth has them.
func TestLargeTransfersArriveWhole(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 16 << 20
	}
	want, err := sumOf(noise(size))
	must(t, err)
	for _, mtu := range []int{1500, 9000} {
		s := newSite(t, mtu)
		_, stop := s.run(s.config())
		for _, vip := range vips {
			t.Run(fmt.Sprintf("mtu=%d,vip=%s", mtu, vip), func(t *testing.T) {
				up(t, newHTTPClient(s.client), vip, size, want)
				down(t, newHTTPClient(s.client), vip, size, want)
			})
		}
		stop()
	}
}

func up(t *testing.T, c *http.Client, vip netip.Addr, size int64, want []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(vip, 0), noise(size))
	must(t, err)
	req.ContentLength = size
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	if string(got) != fmt.Sprintf("%x", want) {
		t.Errorf("upload: SHA-256 %s, want %x", got, want)
	}
}

func down(t *testing.T, c *http.Client, vip netip.Addr, size int64, want []byte) {
	t.Helper()
	resp, err := c.Get(urlOf(vip, size))
	must(t, err)
	defer resp.Body.Close()
	got, err := sumOf(resp.Body)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("download: SHA-256 %x, want %x", got, want)
	}
}

// One client has so few ports that it takes some again within the two minutes that
// golb remembers a connection; each is scheduled all the same.
func TestShortConnectionsAllSucceedAndShareByWeight(t *testing.T) {
	const clients = 8
	total := 10_000
	if testing.Short() {
		total = 1200
	}
	s := newSite(t, 0)
	b, stop := s.run(s.config())
	defer stop()
	var mu sync.Mutex
	got := map[string]int{}
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c := newHTTPClient(s.client)
			for next.Add(1) <= int64(total) {
				server, err := get(c, urlOf(vips[0], 1000), 1000)
				if err != nil {
					if failed.Add(1) <= 5 {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				got[server]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%d of %d connections failed; dropped: %v", n, total, b.Stats().Drops)
	}
	for i := 1; i <= servers; i++ {
		name := fmt.Sprintf("s%d", i)
		share, want := float64(got[name])/float64(total), float64(i)/6
		if math.Abs(share-want) > 0.01*want {
			t.Errorf("%s has a share of %.4f, want %.4f within 1 %%", name, share, want)
		}
		if n := b.Stats().Services[0].Servers[i-1].Connections; n != uint64(got[name]) {
			t.Errorf("%s: golb counted %d connections, the client %d", name, n, got[name])
		}
	}
}

// get returns who answered.
func get(c *http.Client, url string, size int64) (server string, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (n != size || resp.StatusCode != http.StatusOK) {
		err = fmt.Errorf("%s: %s with %d bytes, want %d", url, resp.Status, n, size)
	}
	return resp.Header.Get("Server"), err
}
