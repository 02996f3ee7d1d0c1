package lb_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// curl runs curl on a host, and returns what it wrote.
func curl(h *lab.Host, args ...string) (string, error) {
	var out, errs bytes.Buffer
	err := h.Do(func() error {
		cmd := exec.Command("curl", append([]string{"-sS", "--max-time", "300"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		return cmd.Run()
	})
	if err != nil {
		err = fmt.Errorf("curl: %w: %s", err, &errs)
	}
	return out.String(), err
}

// filterOf has a host drop packets by an nft rule, until the test ends.
func filterOf(t *testing.T, h *lab.Host, rule string) {
	t.Helper()
	nft := func(script string) error {
		return h.Do(func() error {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("nft: %w: %s", err, out)
			}
			return nil
		})
	}
	must(t, nft("table inet loss { chain in { type filter hook input priority 0; "+rule+" }; chain out { type filter hook output priority 0; "+rule+" }; }"))
	t.Cleanup(func() { must(t, nft("delete table inet loss")) })
}

func TestCurlGetsThePage(t *testing.T) {
	for _, program := range []string{"curl", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v; the Debian packages curl and nftables have it", err)
		}
	}
	p := newTestNetwork(t, 0)
	vips := frontNet.at(100)
	page := "<!DOCTYPE html><title>Back soon</title>" + strings.Repeat("<p>We are sorry.", 300)
	cfg := lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1 << 12}
	for _, vip := range vips {
		cfg.Services = append(cfg.Services, lb.Service{VIP: vip, Port: 80, Fallback: lb.Fallback{Page: page}})
	}
	b, stop := p.run(cfg)
	defer stop()

	upload := filepath.Join(t.TempDir(), "upload")
	must(t, os.WriteFile(upload, make([]byte, 1<<20), 0o600))
	// A tenth of each direction: of a fifth, now and then a SYN is lost as often as the
	// kernel repeats it.
	const drop = "meta l4proto tcp numgen random mod 100 < 10 drop;"
	for _, c := range []struct {
		name   string
		rule   string // of what the client loses
		mtu    string
		args   []string
		rounds int
	}{
		{"plain", "", "", nil, 20},
		{"request of many segments", "", "", []string{"-H", "Cookie: " + strings.Repeat("x", 6000)}, 3},
		{"upload", "", "", []string{"--data-binary", "@" + upload}, 3},
		{"upload that waits", "", "", []string{"-H", "Expect: 100-continue", "--data-binary", "@" + upload}, 1},
		{"loss", drop, "", nil, 10},
		{"loss, request of many segments", drop, "", []string{"-H", "Cookie: " + strings.Repeat("x", 6000)}, 3},
		{"small segments", "", "700", nil, 3},
		{"small segments, loss", drop, "700", nil, 3},
	} {
		for _, f := range families {
			if c.mtu != "" && f == 1 {
				continue // IPv6 has 1280 at least
			}
			t.Run(fmt.Sprintf("%s/%s", c.name, f), func(t *testing.T) {
				if c.rule != "" {
					filterOf(t, p.client, c.rule)
				}
				if c.mtu != "" {
					setMTU(t, p.client, c.mtu)
					t.Cleanup(func() { setMTU(t, p.client, "1500") })
				}
				for n := range c.rounds {
					args := append([]string{"-w", "\n%{http_code} %{errormsg}", fmt.Sprintf("http://%s/", netip.AddrPortFrom(vips[f], 80))}, c.args...)
					got, err := curl(p.client, args...)
					if want := page + "\n503 "; err != nil || !strings.HasPrefix(got, want) {
						t.Errorf("round %d: %v, %d bytes, that end in %q", n, err, len(got), got[max(0, len(got)-80):])
					}
				}
			})
		}
	}
	t.Run("HEAD", func(t *testing.T) {
		got, err := curl(p.client, "-I", fmt.Sprintf("http://%s/", netip.AddrPortFrom(vips[0], 80)))
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, "\r\n\r\n") {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("many at a time", func(t *testing.T) {
		out, err := curl(p.client, "--parallel", "--parallel-max", "50", "-o", "/dev/null", "-w", "%{http_code}\n",
			fmt.Sprintf("http://%s/[1-300]", netip.AddrPortFrom(vips[0], 80)))
		if n := strings.Count(out, "503\n"); err != nil || n != 300 {
			t.Errorf("%d of 300 got the page: %v", n, err)
		}
	})
	if st := b.Stats(); st.Connections != 0 {
		t.Errorf("%d connections in the table: %v", st.Connections, st)
	} else {
		t.Logf("pages sent: %d and %d; drops %v", st.Services[0].Pages, st.Services[1].Pages, st.Drops)
	}
}

func setMTU(t *testing.T, h *lab.Host, mtu string) {
	t.Helper()
	must(t, h.Do(func() error { return exec.Command("ip", "link", "set", "eth0", "mtu", mtu).Run() }))
}
