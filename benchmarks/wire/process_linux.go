package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
)

// process is a program on a host of the lab.
type process struct {
	what   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	errors bytes.Buffer // to be read once it has ended
}

// launch starts a program.
func launch(h *lab.Host, what string, cmd *exec.Cmd) (_ *process, err error) {
	p := &process{what: what, cmd: cmd}
	cmd.Stderr = &p.errors
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := h.Start(cmd); err != nil {
		return nil, err
	}
	return p, nil
}

// launchRole starts this program in another role and waits until it is ready.
func launchRole(ctx context.Context, h *lab.Host, o order) (*process, error) {
	text, err := o.encode()
	if err != nil {
		return nil, err
	}
	p, err := launch(h, o.Role, exec.CommandContext(ctx, "/proc/self/exe", "role", text))
	if err != nil {
		return nil, err
	}
	if line, err := p.line(); err != nil || line != "ready" {
		return nil, errors.Join(fmt.Errorf("%s says %q", o.Role, line), err, p.stop())
	}
	return p, nil
}

// line reads a line; the error is io.EOF where there is none any more.
func (p *process) line() (string, error) {
	if !p.out.Scan() {
		return "", errors.Join(io.EOF, p.out.Err())
	}
	return p.out.Text(), nil
}

func (p *process) writeLine(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// end kills a process that has no result to report.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // fails only where it has ended
	for p.out.Scan() {
	}
	_ = p.cmd.Wait()
}

// stop ends it: those of ours by the end of their input, others by SIGTERM. The error has what it complained of.
func (p *process) stop() error {
	_ = p.in.Close()
	if p.cmd.Args[0] != "/proc/self/exe" {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only where it has ended
	}
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for p.out.Scan() { // Wait closes the pipe
	}
	return p.ended(p.cmd.Wait())
}

func (p *process) ended(err error) error {
	complaint := strings.TrimSpace(p.errors.String())
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM && p.cmd.Args[0] != "/proc/self/exe":
		return nil
	case err != nil && complaint != "":
		return fmt.Errorf("%s: %w: %s", p.what, err, complaint)
	case err != nil:
		return fmt.Errorf("%s: %w", p.what, err)
	}
	return nil
}

// installed looks for a program also where only root's path leads.
func installed(name string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if info, err := os.Stat(dir + name); err == nil && info.Mode()&0o111 != 0 {
			return dir + name, true
		}
	}
	return "", false
}
