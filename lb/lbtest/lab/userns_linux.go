package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// marker is the environment variable that tells a re-executed process so; its value is the parent's process id, so that
// processes further down do not take it for theirs.
const marker = "GOLB_LAB_REEXEC"

// Main runs the tests of m where labs can be made and exits with their code: in this process if it may make namespaces,
// else in a copy of it that is root of a new user namespace. Where the system forbids both it runs them all the same, and
// those that need a lab skip by [Unavailable]. A package's TestMain calls it and nothing after it.
func Main(m interface{ Run() int }) {
	done, code, err := Reexec()
	switch {
	case done:
		os.Exit(code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err, "- tests that need a lab skip")
	}
	os.Exit(m.Run())
}

// Reexec makes labs possible for a program. A process that may make network namespaces goes on: done is false. Any other
// starts its own executable again, same arguments, environment and standard files, as root of a new user and network
// namespace, forwards signals to it and waits: done is true and code is its exit code, 128 and the signal's number if a
// signal ended it. The copy goes on with done false, and dies with its parent. An error says that the process is as it
// was and cannot make labs.
func Reexec() (done bool, code int, err error) {
	if os.Getenv(marker) == strconv.Itoa(os.Getppid()) {
		return false, 0, enteredCopy()
	}
	if err := tryUnshare(); err == nil {
		return false, 0, nil
	} else if !errors.Is(err, unix.EPERM) {
		return false, 0, fmt.Errorf("make network namespace: %w", err)
	}
	// The signal that ends the copy with its parent is sent when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := copyOfSelf()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return false, 0, fmt.Errorf("start in a user namespace: %w", err)
	}
	ended := make(chan struct{})
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		relay(cmd.Process, signals, ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-relayed
	if cmd.ProcessState == nil {
		return true, 1, fmt.Errorf("wait for the copy in a user namespace: %w", err)
	}
	return true, exitCode(cmd.ProcessState), nil
}

// enteredCopy finishes the copy: it forgets the marker and gives the namespace it woke up in a working loopback.
func enteredCopy() error {
	if err := os.Unsetenv(marker); err != nil {
		return err
	}
	if err := tryUnshare(); err != nil {
		return fmt.Errorf("make network namespace as root of a user namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

func tryUnshare() error {
	var closeErr error
	err := inNew(func(fd netns.NsHandle) { closeErr = fd.Close() })
	return errors.Join(err, closeErr)
}

func copyOfSelf() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), marker+"="+strconv.Itoa(os.Getpid()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd
}

func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
}

func relay(to *os.Process, signals <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			if !fromTerminal(s) {
				_ = to.Signal(s) // fails only where the process has ended
			}
		}
	}
}

// fromTerminal says whether a terminal has sent s to the whole foreground group, the copy included, which would act on a
// second one as on an impatient user.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
