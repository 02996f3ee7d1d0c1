package lab_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

func TestCloseLeavesNothing(t *testing.T) {
	newLab(t) // skips where there is none, and warms up what the runtime keeps
	links, fds := interfaces(t), descriptors(t)
	namespace := namespaceOfThread(t)
	goroutines := goleak.IgnoreCurrent()
	var spaces []*os.File
	func() {
		l := newLab(t)
		a, b, _ := newPair(t, l, 0)
		transfer(t, a, b, "192.0.2.2:80", 1<<20)
		cmd := helperCommand(t, "sleep")
		must(t, a.Start(cmd))
		for _, h := range []*lab.Host{a, b} {
			spaces = append(spaces, pinned(t, h.NS()))
		}
		must(t, l.Close())
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Errorf("a process of the lab ended with %v, want killed", err)
		}
	}()
	goleak.VerifyNone(t, goroutines)
	// A thread is gone a little after the goroutine that it ends with.
	eventually(t, "every thread is in the process's namespace", func() bool {
		for _, ns := range threads(t) {
			if ns != namespace {
				return false
			}
		}
		return true
	})
	for _, ns := range spaces {
		if holders := namespaceHolders(t, ns); holders != nil {
			t.Errorf("namespace %s is held by %v", ns.Name(), holders)
		}
		must(t, ns.Close())
	}
	if got := interfaces(t); got != links {
		t.Errorf("interfaces before: %s, after: %s", links, got)
	}
	if got := descriptors(t); got != fds {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", fds, got)
	}
}

// eventually polls for what the kernel does when it gets round to it.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not so: ", what)
		}
	}
}

func interfaces(t *testing.T) string {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return strings.Join(names, " ")
}

// descriptors lists what the process holds open, without numbers: those of sockets differ from run to run.
func descriptors(t *testing.T) string {
	t.Helper()
	var open []string
	for _, path := range glob(t, "/proc/self/fd/*") {
		if target, err := os.Readlink(path); err == nil {
			open = append(open, target)
		}
	}
	return strings.Join(open, "\n")
}

// threads returns the network namespace of each thread of the process.
func threads(t *testing.T) (spaces []string) {
	t.Helper()
	for _, path := range glob(t, "/proc/self/task/*/ns/net") {
		if ns, err := os.Readlink(path); err == nil {
			spaces = append(spaces, ns)
		}
	}
	return spaces
}

// pinned opens a namespace. As long as it is open its number, by which holding knows
// it, is not given to one that another test makes meanwhile.
func pinned(t *testing.T, path string) *os.File {
	t.Helper()
	ns, err := os.Open(path)
	must(t, err)
	return ns
}

// namespaceHolders lists the threads and descriptors of any process that hold a namespace, but for ns.
func namespaceHolders(t *testing.T, ns *os.File) (paths []string) {
	t.Helper()
	self := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	name, err := os.Readlink(self)
	must(t, err)
	for _, pattern := range []string{"/proc/[0-9]*/fd/*", "/proc/[0-9]*/task/*/ns/net"} {
		for _, path := range glob(t, pattern) {
			if target, err := os.Readlink(path); err == nil && target == name && path != self {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	must(t, err)
	return paths
}

// awaitSockets waits until the host has n TCP sockets that wait for an answer.
func awaitSockets(t *testing.T, h *lab.Host, n int) {
	t.Helper()
	eventually(t, "as many connections as dialled are being made", func() bool {
		var table []byte
		must(t, h.Do(func() (err error) {
			table, err = os.ReadFile("/proc/thread-self/net/tcp")
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}))
		return bytes.Count(table, []byte(" 02 ")) == n // SYN_SENT
	})
}

// helperCommand is this test program as another process, doing what helpers in TestMain's file says under that name.
func helperCommand(t *testing.T, what string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), helperVar+"="+what), env...)
	cmd.Stderr = t.Output()
	return cmd
}
