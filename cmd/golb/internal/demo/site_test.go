package demo

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

func newTestSite(t *testing.T, ipv6 bool) *site {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	m, err := modeOf("dsr")
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSite(t.Context(), newLayout(ipv6, m.inside), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSiteServesWithoutGolb(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("ipv6=%v", ipv6), func(t *testing.T) {
			s := newTestSite(t, ipv6)
			for _, w := range s.servers {
				base := "http://" + netip.AddrPortFrom(w.addr.Addr(), httpPort).String()
				checkServer(t, s, w, base)
			}
		})
	}
}

func checkServer(t *testing.T, s *site, w *webServer, base string) {
	t.Helper()
	c := newHTTPClient(s.client.DialContext, true)
	defer c.CloseIdleConnections()
	want, err := io.ReadAll(newPattern(bodySize))
	if err != nil {
		t.Fatal(err)
	}
	a := fetch(t.Context(), c, fmt.Sprintf("%s/data?bytes=%d", base, bodySize), want)
	if a.err != nil || a.server != w.name {
		t.Fatalf("%s: answered by %q, error %v", base, a.server, a.err)
	}
	want[100] ^= 1
	if a := fetch(t.Context(), c, fmt.Sprintf("%s/data?bytes=%d", base, bodySize), want); a.err == nil {
		t.Errorf("%s: a wrong byte was not noticed", base)
	}
	const size = 3<<20 + 5
	sum, err := patternSum(size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload(t.Context(), c, base+"/sum", size, sum); err != nil {
		t.Error(err)
	}
	if _, err := download(t.Context(), c, base+"/data", size, sum); err != nil {
		t.Error(err)
	}
	if _, err := download(t.Context(), c, base+"/data", size-1, sum); err == nil {
		t.Error("a missing byte was not noticed")
	}
	before := w.conns.Load()
	conn, err := s.golb.DialContext(t.Context(), "tcp", netip.AddrPortFrom(w.addr.Addr(), httpPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n := w.conns.Load(); n != before || n == 0 {
		t.Errorf("%d connections of the client counted, %d after one of golb's", before, n)
	}
}

func TestNobodyAnswersForTheVIPWithoutGolb(t *testing.T) {
	s := newTestSite(t, false)
	a := fetch(t.Context(), newHTTPClient(s.client.DialContext, false), s.url("/"), nil)
	if a.err == nil {
		t.Errorf("%s answered for the VIP: the ARP problem is not solved", a.server)
	}
}

func TestCommandsAreWhatTheServersHave(t *testing.T) {
	s := newTestSite(t, false)
	for _, c := range dsrCommands(s.layout, s.layout.servers[0]) {
		if key, ok := strings.CutPrefix(c.text, "sysctl -w "); ok {
			key, want, _ := strings.Cut(key, "=")
			got, err := sysctl(s.servers[0].host, key)
			if err != nil || got != want {
				t.Errorf("%s is %q on the server, want %q (%v)", key, got, want, err)
			}
		}
	}
}

// sysctl reads a setting of a host.
func sysctl(h *lab.Host, key string) (value string, err error) {
	err = h.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}
