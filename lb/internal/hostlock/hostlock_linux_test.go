package hostlock

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// helperVIP has the test binary hold a VIP and wait.
const helperVIP = "HOSTLOCK_TEST_VIP"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVIP); name != "" {
		v, _ := parse(name)
		err := new(Set).Hold([]VIP{v})
		fmt.Println(err)
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// vip is on an interface that no host has, and no other run of this test.
func vip(number int, prefix string) VIP {
	return VIP{1<<20 + 4*os.Getpid() + number, netip.MustParsePrefix(prefix)}
}

func hold(t *testing.T, vips ...VIP) *Set {
	t.Helper()
	s := &Set{}
	t.Cleanup(s.Close)
	if err := s.Hold(vips); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVIPIsHeldOnce(t *testing.T) {
	one, two := vip(1, "192.0.2.100/32"), vip(1, "2001:db8::/120")
	s := hold(t, one, two, one)
	for _, tc := range []struct {
		name string
		want VIP
		free bool
	}{
		{"the same", one, false},
		{"a prefix around it", vip(1, "192.0.2.0/24"), false},
		{"an address of a prefix", vip(1, "2001:db8::1/128"), false},
		{"another address", vip(1, "192.0.2.101/32"), true},
		{"another interface", vip(2, "192.0.2.100/32"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			other := &Set{}
			defer other.Close()
			err := other.Hold([]VIP{vip(1, "198.51.100.1/32"), tc.want})
			var taken *TakenError
			if tc.free != (err == nil) || err != nil && (!errors.As(err, &taken) || !taken.Self) {
				t.Fatalf("got %v", err)
			}
			if err := other.Hold([]VIP{vip(1, "198.51.100.1/32")}); err != nil {
				t.Errorf("the other VIP, after it: %v", err)
			}
		})
	}
	if err := s.Hold([]VIP{two}); err != nil {
		t.Fatal(err)
	}
	hold(t, one)
	if err := s.Hold([]VIP{one, two}); err == nil {
		t.Error("taken back from another")
	}
	if err := new(Set).Hold([]VIP{two}); err == nil {
		t.Error("given up by a call that failed")
	}
}

func TestProcessThatHoldsAVIPIsNamed(t *testing.T) {
	v := vip(1, "192.0.2.100/32")
	cmd := exec.Command(os.Args[0], "run", "-c", "golb\x1b.yaml")
	cmd.Env = append(os.Environ(), helperVIP+"="+v.name())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Fatalf("helper: %q, %v", line, err)
	}
	err = new(Set).Hold([]VIP{v})
	want := fmt.Sprintf("192.0.2.100 is balanced on this host already, by process %d (%s run -c golb .yaml)", cmd.Process.Pid, os.Args[0])
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	hold(t, v) // nothing is left of it
}

func TestHolderThatIsNotSeenIsTold(t *testing.T) {
	err := &TakenError{VIP: vip(1, "2001:db8::/120")}
	if got := err.Error(); !strings.HasPrefix(got, "2001:db8::/120 is balanced on this host already, by a process of another PID namespace") {
		t.Error(got)
	}
}
