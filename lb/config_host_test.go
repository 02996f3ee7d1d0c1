package lb

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWarningsNameWhatTheHostsKernelWouldDo(t *testing.T) {
	one := Service{VIP: netip.MustParseAddr("2001:db8::80"), Port: 80}
	cfg := Config{Services: []Service{one}}
	for name, c := range map[string]struct {
		err  error
		want string // part of the warning; "": none
	}{
		"no route":  {syscall.ENETUNREACH, "no route to 2001:db8::80"},
		"blackhole": {syscall.EINVAL, ""},
	} {
		got := cfg.warnings(func(netip.Addr) (Route, error) { return Route{}, fmt.Errorf("route: %w", c.err) })
		if len(got) != min(len(c.want), 1) || c.want != "" && !strings.Contains(got[0], c.want) {
			t.Errorf("%s: warned %q, want %q", name, got, c.want)
		}
	}
}

func TestIsOnReadsASysctl(t *testing.T) {
	for text, want := range map[string]bool{"0\n": false, "1\n": true, "2\n": true} {
		file := t.TempDir() + "/sysctl"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := isOn(file); got != want {
			t.Errorf("%q is on: %v, want %v", text, got, want)
		}
	}
	if isOn("/no/such/file") {
		t.Error("a sysctl that is not there is on")
	}
}
