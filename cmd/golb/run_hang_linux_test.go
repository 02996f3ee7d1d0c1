package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hung is a process of golb run, with what it needs to hang.
type hung struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stderr *os.File // its other end
}

// TestProcessEndsWhateverHangs ends golb run while something hangs, by one signal.
func TestProcessEndsWhateverHangs(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config string // of run -c; "" is a file
		hang   func(*hung)
		code   int
	}{
		"the config becomes a named pipe": {"", func(x *hung) {
			x.await("forwarding")
			path := filepath.Join(x.dir, "golb.yaml")
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
				x.t.Fatal(err)
			}
			x.signal(syscall.SIGHUP)
			x.await("not a regular file")
		}, exitOK},
		"a pipe that nobody writes to, read again": {"/dev/fd/3", func(x *hung) {
			x.await("forwarding")
			x.signal(syscall.SIGHUP)
			time.Sleep(100 * time.Millisecond) // it reads
		}, exitOK},
		"nothing comes from the standard input": {"-", func(*hung) { time.Sleep(100 * time.Millisecond) }, exitOK},
		"nobody reads the log": {"", func(x *hung) {
			x.await("forwarding")
			go io.Copy(x.cmd.Stderr.(*os.File), endless{}) // until the pipe is full, and then until it is closed
			time.Sleep(100 * time.Millisecond)
			x.signal(syscall.SIGHUP)
			time.Sleep(100 * time.Millisecond) // it logs
		}, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			host := labHost(t)
			x := &hung{t: t, dir: t.TempDir()}
			path := filepath.Join(x.dir, "golb.yaml")
			if err := os.WriteFile(path, []byte(runnable), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.config != "" {
				path = tt.config
			}
			x.cmd = exec.Command(program)
			x.cmd.Env = append(os.Environ(), argsVariable+"=run -c "+path, "GOLB_SOCKET="+filepath.Join(x.dir, "s"))
			var w, in, extra *os.File
			x.stderr, w = pipe(t)
			in, _ = pipe(t)
			extra, config := pipe(t)
			if _, err := config.WriteString(runnable); err != nil {
				t.Fatal(err)
			}
			x.cmd.Stderr, x.cmd.Stdin, x.cmd.ExtraFiles = w, in, []*os.File{extra}
			if tt.config == "/dev/fd/3" {
				time.AfterFunc(50*time.Millisecond, func() { config.Close() })
			}
			if err := host.Start(x.cmd); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { x.cmd.Process.Kill() })
			defer time.AfterFunc(time.Minute, func() { x.stderr.Close() }).Stop() // so that what waits for the log ends
			tt.hang(x)
			x.signal(syscall.SIGTERM)
			ended := make(chan error, 1)
			go func() { ended <- x.cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(15 * time.Second): // three times what it may take
				t.Fatal("it goes on")
			}
			if got := x.cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func (x *hung) signal(s os.Signal) {
	x.t.Helper()
	if err := x.cmd.Process.Signal(s); err != nil {
		x.t.Fatal(err)
	}
}

// await reads the log until a text is in it.
func (x *hung) await(text string) {
	x.t.Helper()
	var log []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(log), text) {
		n, err := x.stderr.Read(b)
		if err != nil {
			x.t.Fatalf("%v; the log: %s", err, log)
		}
		log = append(log, b[:n]...)
	}
}
