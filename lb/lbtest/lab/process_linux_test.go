package lab_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// helperVar names what the test program does instead of testing.
const helperVar = "LAB_TEST_HELPER"

// peerVar is the path of a namespace in which the helper "hold" puts the other end of a cable.
const peerVar = "LAB_TEST_PEER"

// runHelper does what a helper process is for and returns its exit code.
func runHelper(what string) int {
	if what == "sleep" {
		fmt.Println(namespaceOfProcess())
		select {}
	}
	if what == "forbidden" {
		fmt.Fprintln(os.Stderr, forbidAndTest())
		return 1
	}
	done, code, err := lab.Reexec()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if done {
		return code
	}
	switch what {
	case "exit":
		return 7
	case "signal":
		return waitForSignal()
	case "hold":
		if err := holdLab(os.Getenv(peerVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// forbidAndTest makes its user namespace one in which nothing is allowed, and becomes a test run there.
func forbidAndTest() error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	runtime.LockOSThread() // capabilities are a thread's
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		// One that the kernel does not know is refused, and is not held either.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	if err := os.Unsetenv(helperVar); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", []string{"lab.test", "-test.v", "-test.run=^TestTCPPasses"}, os.Environ())
}

func waitForSignal() int {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("ready", os.Getpid())
	s := <-got
	fmt.Println("got", s)
	return 3
}

// holdLab builds a lab with a process in it and a cable to the namespace at path peer, where given, and waits to be killed.
func holdLab(peer string) error {
	l, err := lab.New()
	if err != nil {
		return err
	}
	s, err := l.Switch("switch")
	if err != nil {
		return err
	}
	h, err := l.Host("h")
	if err != nil {
		return err
	}
	if _, err := l.Attach(h, s, lab.LinkConfig{Addrs: prefixes("192.0.2.1/24")}); err != nil {
		return err
	}
	if peer != "" {
		if err := h.Do(func() error { return connectToNamespace(peer) }); err != nil {
			return err
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVar+"=sleep")
	if err := h.Start(cmd); err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid(), cmd.Process.Pid)
	select {}
}

func connectToNamespace(peer string) error {
	fd, err := netns.GetFromPath(peer)
	if err != nil {
		return err
	}
	defer fd.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "probe0"
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNamespace = "probe0", netlink.NsFd(fd)
	return netlink.LinkAdd(veth)
}

func namespaceOfProcess() string {
	ns, _ := os.Readlink("/proc/self/ns/net")
	return ns
}

// startHelper starts a helper and returns the words that follow "ready" on its first line.
func startHelper(t *testing.T, cmd *exec.Cmd) (fields []string, lines *bufio.Reader) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines = bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	must(t, err)
	fields = strings.Fields(line)
	if len(fields) == 0 || fields[0] != "ready" {
		t.Fatalf("helper says %q", line)
	}
	return fields[1:], lines
}

// asOrdinaryUser makes cmd run as an ordinary user, which only a process that is root outside any user namespace can do.
func asOrdinaryUser(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	uids, err := os.ReadFile("/proc/self/uid_map")
	must(t, err)
	if f := strings.Fields(string(uids)); os.Getuid() != 0 || len(f) != 3 || f[2] != "4294967295" {
		t.Skip("not root of the machine, so cannot become another user; run by an ordinary user, every test here runs in the copy")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	probe := exec.Command("/proc/self/exe")
	probe.Dir, probe.Env = "/", append(os.Environ(), helperVar+"=exit")
	probe.SysProcAttr = cmd.SysProcAttr
	out, err := probe.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("root without the capability to become another user: ", err)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		if strings.Contains(string(out), "user namespace") {
			t.Skipf("the system forbids user namespaces to ordinary users: %s", out)
		}
		t.Fatalf("helper as an ordinary user: %v, %s; want exit status 7", err, out)
	}
	return cmd
}

func TestOrdinaryUsersRunTheSameTests(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestTCP|^TestSolveARP|^TestCloseLeaves|^TestStarted|^TestWhere")
	cmd.Dir = "/"
	out, err := asOrdinaryUser(t, cmd).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestCloseLeavesNothing") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

func TestWhereNamespacesAreForbiddenTestsSkip(t *testing.T) {
	newLab(t) // skips where there are none to forbid
	cmd := helperCommand(t, "forbidden")
	cmd.Stderr = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil || !strings.Contains(text, "--- SKIP: TestTCPPassesARouter") || strings.Contains(text, "--- PASS: TestTCPPassesARouter") ||
		!strings.Contains(text, "operation not permitted (needs root, or user namespaces") || strings.Contains(text, "return to") {
		t.Errorf("where namespaces are forbidden: %v\n%s", err, text)
	}
}

func TestReexecForwardsSignalsAndExitCode(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1} {
		cmd := asOrdinaryUser(t, helperCommand(t, "signal"))
		fields, out := startHelper(t, cmd)
		if copied := parsePID(t, fields[0]); copied == cmd.Process.Pid {
			t.Error("there was no copy")
		}
		must(t, cmd.Process.Signal(s))
		text, err := io.ReadAll(out)
		must(t, err)
		if want := fmt.Sprintln("got", s); string(text) != want {
			t.Errorf("the copy said %q, want %q", text, want)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
			t.Errorf("ended with %v, want exit status 3", err)
		}
	}
}

func TestReexecReportsTheSignalThatEndedTheCopy(t *testing.T) {
	cmd := asOrdinaryUser(t, helperCommand(t, "hold"))
	fields, _ := startHelper(t, cmd)
	must(t, syscall.Kill(parsePID(t, fields[0]), syscall.SIGKILL))
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGKILL) {
		t.Errorf("ended with %v, want exit status %d", err, 128+int(syscall.SIGKILL))
	}
}

func TestKillingAProcessRemovesItsLab(t *testing.T) {
	l := newLab(t)
	outside := newHost(t, l, "outside")
	cmd := helperCommand(t, "hold", peerVar+"="+outside.NS())
	fields, _ := startHelper(t, cmd)
	if !hasInterface(t, outside, "probe0") {
		t.Fatal("no cable into the other process's lab")
	}
	ns := pinned(t, "/proc/"+fields[1]+"/ns/net")
	if namespaceHolders(t, ns) == nil {
		t.Fatal("nothing holds the lab's namespace")
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, "the process started in the lab is gone", func() bool { return !alive(parsePID(t, fields[1])) })
	eventually(t, "nothing holds the namespace", func() bool { return namespaceHolders(t, ns) == nil })
	must(t, ns.Close())
	// A cable ends when the namespace at its other end does, so this is the kernel's word for it.
	eventually(t, "the namespace and its interfaces are gone", func() bool { return !hasInterface(t, outside, "probe0") })
}

func TestKillingAProcessRemovesTheLabOfItsCopy(t *testing.T) {
	cmd := asOrdinaryUser(t, helperCommand(t, "hold"))
	fields, _ := startHelper(t, cmd)
	ns := pinned(t, "/proc/"+fields[1]+"/ns/net")
	defer ns.Close()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	for _, w := range fields[:2] {
		eventually(t, "the copy and what it started are gone", func() bool { return !alive(parsePID(t, w)) })
	}
	eventually(t, "nothing holds the namespace", func() bool { return namespaceHolders(t, ns) == nil })
}

func TestStartedProcessesAreInTheHost(t *testing.T) {
	l := newLab(t)
	h := newHost(t, l, "a")
	for range 3 {
		cmd := helperCommand(t, "sleep")
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, h.Start(cmd))
		line, err := bufio.NewReader(out).ReadString('\n')
		must(t, err)
		want, err := os.Readlink(h.NS())
		must(t, err)
		if got := strings.TrimSpace(line); got != want {
			t.Errorf("process is in %s, want %s", got, want)
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
}

func hasInterface(t *testing.T, h *lab.Host, name string) (found bool) {
	t.Helper()
	must(t, h.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			found = found || l.Attrs().Name == name
		}
		return err
	}))
	return found
}

// alive says whether a process is there and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, suffix, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(suffix, "Z")
}

func parsePID(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}
