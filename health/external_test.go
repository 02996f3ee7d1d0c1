//go:build unix

package health

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sh is an external check whose command is a shell script.
func sh(script string) *External {
	return &External{Command: "/bin/sh", Args: []string{"-c", script, "check"},
		Service: netip.MustParseAddrPort("192.0.2.100:80"), Addr: netip.MustParseAddrPort("192.0.2.1:8080")}
}

// untilWritten is a context whose time is up as soon as there is something in a file, as
// soon as a command has got that far, or after a minute.
func untilWritten(t *testing.T, file string) context.Context {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			if info, err := os.Stat(file); err == nil && info.Size() > 0 {
				return
			}
		}
	}()
	return expiring{t.Context(), done}
}

type expiring struct {
	context.Context
	done <-chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.done }

func (e expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestExternal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "far")
	noService := sh(`test "$1 $2" = "0 0"`)
	noService.Service = netip.AddrPort{}
	env := sh(`test "$MORE" = things`)
	env.Env = []string{"MORE=things"}
	tests := []struct {
		name  string
		check *External
		want  string
	}{
		{"up", sh("exit 0"), ""},
		{"ldirectord's arguments", sh(`test "$*" = "192.0.2.100 80 192.0.2.1 8080"`), ""},
		{"no service", noService, ""},
		{"environment", sh(`test "$GOLB_VIP $GOLB_VPORT $GOLB_RIP $GOLB_RPORT" = "192.0.2.100 80 192.0.2.1 8080" && test -n "$PATH"`), ""},
		{"more environment", env, ""},
		{"exit status", sh("exit 3"), "/bin/sh: got exit status 3, want exit status 0"},
		{"exit status and output", sh("echo first; echo disk full >&2; exit 1"), `/bin/sh: got exit status 1, want exit status 0: "disk full"`},
		{"signal", sh("kill -9 $$"), "/bin/sh: got signal: killed, want exit status 0"},
		{"no such program", &External{Command: "/nonexistent"}, "/nonexistent: no such file or directory"},
		{"no permission", &External{Command: "/etc/passwd"}, "/etc/passwd: permission denied"},
		{"silent", sh("echo starting; echo >" + file + "; sleep 1000"), `/bin/sh: killed: no answer in time: "starting"`},
		{"ignores signals", sh("trap '' TERM INT HUP; echo >" + file + "; sleep 1000; sleep 1000"), "/bin/sh: killed: no answer in time"},
		{"endless output", sh("echo yes; echo >" + file + "; while :; do echo yes; done"), `/bin/sh: killed: no answer in time: "yes"`},
		{"endless output then failure", sh("i=0; while [ $i -lt 2000 ]; do echo xxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; echo end; exit 1"), `/bin/sh: got exit status 1, want exit status 0: "end"`},
		{"leaves the output to a child", sh("sleep 1000 & exit 0"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_ = os.Remove(file)
			ctx := t.Context()
			if strings.Contains(tt.want, "killed: no answer") {
				ctx = untilWritten(t, file)
			}
			got := reasonOf(tt.check.Check(ctx))
			if strings.HasSuffix(tt.want, `"yes"`) { // the last line may be cut
				got = strings.Replace(strings.Replace(got, `"ye"`, `"yes"`, 1), `"y"`, `"yes"`, 1)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNothingOfAnExternalCheckOutlivesIt(t *testing.T) {
	tests := []struct {
		name, script string
	}{
		{"killed", "sleep 1000 & echo $! > FILE; wait"},
		{"killed, in a subshell", "(sh -c 'sleep 1000 & echo $! > FILE; wait'; true); true"},
		{"ended by itself", "sleep 1000 >/dev/null 2>&1 & echo $! > FILE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			ctx := t.Context()
			if tt.name != "ended by itself" {
				ctx = untilWritten(t, file)
			}
			_ = sh(strings.ReplaceAll(tt.script, "FILE", file)).Check(ctx)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			for range 2000 { // a killed process lingers until its new parent has waited
				if syscall.Kill(pid, 0) != nil || zombie(pid) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("process %d is left", pid)
		})
	}
}

func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestTailKeepsTheLastBytes(t *testing.T) {
	var out tail
	for range 1000 {
		_, _ = out.Write([]byte("0123456789\n"))
	}
	_, _ = out.Write([]byte("end"))
	if len(out.b) != maxTail || cap(out.b) > 4*maxTail || !strings.HasSuffix(string(out.b), "9\nend") {
		t.Errorf("%d bytes, room for %d, end %q", len(out.b), cap(out.b), out.b[len(out.b)-10:])
	}
	_, _ = out.Write([]byte(strings.Repeat("x", 10000)))
	if string(out.b) != strings.Repeat("x", maxTail) {
		t.Errorf("after a long write: %q", out.b)
	}
}
