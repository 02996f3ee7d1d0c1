package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

// user is who runs a program.
type user struct {
	name string
	cred *syscall.Credential // nil: the same as the test
}

// users are the test's own and, where the test is root, an ordinary one.
func users(t *testing.T) []user {
	t.Helper()
	list := []user{{"same user", nil}}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	if os.Getuid() != 0 {
		return list
	}
	probe := exec.Command("unshare", "--user", "--map-root-user", "--net", "true")
	probe.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	if out, err := probe.CombinedOutput(); err != nil {
		t.Logf("no ordinary user here that may make user namespaces: %v %s", err, out)
		return list
	}
	return append(list, user{"ordinary user", nobody})
}

// program copies the test's executable to where every user can start it.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "golb")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// command is golb with args, as a user.
func command(path, args string, u user) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), argsVariable+"="+args)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.cred}
	return cmd
}

func TestDemoRunsForEveryUser(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	path := program(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			cmd := command(path, "demo --json "+small, u)
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			var r demoResult
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			r.check(t, "dsr", "192.0.2.100", smallRequests)
		})
	}
}

var enterLine = regexp.MustCompile(`^  (\w+) +(nsenter .*)$`)

// startKeptDemo starts golb demo --keep and returns once it says how to enter the hosts,
// with that.
func startKeptDemo(t *testing.T, path string, u user) (cmd *exec.Cmd, stderr *bufio.Reader, enter map[string]string) {
	t.Helper()
	cmd = command(path, "demo --keep --json -n 60 --size 64K", u)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var all strings.Builder
	stderr = bufio.NewReader(io.TeeReader(pipe, &all))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(all.String())
		}
	})
	enter = map[string]string{}
	for {
		line, err := stderr.ReadString('\n')
		if err != nil {
			t.Fatalf("the demo ended: %v", err)
		}
		if m := enterLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			enter[m[1]] = withoutOwnUserNamespace(t, m[2])
		}
		if strings.HasPrefix(line, "To try:") {
			return cmd, stderr, enter
		}
	}
}

// withoutOwnUserNamespace leaves out that a user namespace is to be entered where the test is in
// it already, as it is when an ordinary user runs the tests: the kernel refuses to
// enter one's own.
func withoutOwnUserNamespace(t *testing.T, nsenter string) string {
	t.Helper()
	m := userOption.FindStringSubmatch(nsenter)
	if m == nil {
		return nsenter
	}
	mine, err1 := os.Readlink("/proc/self/ns/user")
	theirs, err2 := os.Readlink("/proc/" + m[1] + "/ns/user")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if mine == theirs {
		return strings.Replace(nsenter, m[0], "", 1)
	}
	return nsenter
}

var userOption = regexp.MustCompile(`--user --preserve-credentials --target (\d+) `)

func TestKeptLabCanBeEntered(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	path := program(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			cmd, stderr, enter := startKeptDemo(t, path, u)
			if len(enter) != 5 {
				t.Fatalf("%d hosts can be entered, want 5: %v", len(enter), enter)
			}
			if got := runAs(t, u, enter["client"]+" curl --silent --show-error http://192.0.2.100:80/"); !strings.Contains(got, "answers 192.0.2.10:") {
				t.Errorf("client: curl: %q", got)
			}
			if got := runAs(t, u, enter["s2"]+" ip -brief address show dev lo"); !strings.Contains(got, "192.0.2.100/32") {
				t.Errorf("s2 does not have the VIP on its loopback: %q", got)
			}
			if got := runAs(t, u, enter["golb"]+" ip address"); strings.Contains(got, "192.0.2.100") || !strings.Contains(got, "192.0.2.2/24") {
				t.Errorf("golb's addresses: %q", got)
			}
			runAs(t, u, enter["s1"]+" ip link set eth0 down")
			awaitLine(t, stderr, "server_down s1")
			runAs(t, u, enter["s1"]+" ip link set eth0 up")
			awaitLine(t, stderr, "server_up s1")

			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			output, _ := io.ReadAll(stderr) // ends when all that had it open have ended
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGINT: %v\n%s", err, output)
			}
		})
	}
}

// runAs runs a command line as a user.
func runAs(t *testing.T, u user, line string) string {
	t.Helper()
	f := strings.Fields(line)
	cmd := exec.Command(f[0], f[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.cred}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

func awaitLine(t *testing.T, r *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("the demo ended before %q: %v", text, err)
		}
	}
}

// The namespaces have no name, only descriptors of the process: where no process is
// left, they are gone.
func TestKilledDemoLeavesNoProcess(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	path := program(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			cmd, stderr, _ := startKeptDemo(t, path, u)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, stderr); err != nil { // ends when all that had it open have ended
				t.Error(err)
			}
			cmd.Wait()
			all, err := filepath.Glob("/proc/[0-9]*/exe")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range all {
				if exe, err := os.Readlink(p); err == nil && exe == path {
					t.Errorf("%s still runs", p)
				}
			}
		})
	}
}
