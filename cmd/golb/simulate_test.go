package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const scenarioLine = `{"name":"NAME","setup":["-A -t 10.0.0.100:80","-a -t 10.0.0.100:80 -r 10.9.1.1"],` +
	`"events":[{"t":"syn","src":"192.0.2.1:4000","dst":"10.0.0.100:80"}]}` + "\n"

// simulateCommand runs golb simulate with args, and input on standard input.
func simulateCommand(input string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := newSimulateCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func TestSimulateAnswersFilesAndStandardInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "one.jsonl")
	if err := os.WriteFile(file, []byte(strings.Replace(scenarioLine, "NAME", "file", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := simulateCommand(strings.Replace(scenarioLine, "NAME", "stdin", 1), file, "-")
	if err != nil || stderr != "" {
		t.Fatalf("%v\n%s", err, stderr)
	}
	const answer = `"got":"10.9.1.1:80","state":"SYN_RECV","expires":60`
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"name":"file"`) || !strings.HasPrefix(lines[1], `{"name":"stdin"`) ||
		!strings.Contains(lines[0], answer) || !strings.Contains(lines[1], answer) {
		t.Errorf("wrote\n%s\nwant file, then stdin, each with %s", out, answer)
	}
}

func TestSimulateTextIsForPeople(t *testing.T) {
	out, _, err := simulateCommand(scenarioLine, "--text", "-")
	if err != nil || !strings.Contains(out, "server 10.9.1.1:80 by Route, SYN_RECV") {
		t.Errorf("error %v, wrote\n%s", err, out)
	}
}

func TestSimulateTellsBadLinesAndFails(t *testing.T) {
	out, stderr, err := simulateCommand(scenarioLine+"{}x\n"+scenarioLine, "-")
	var logged loggedError
	if !errors.As(err, &logged) {
		t.Errorf("error %v, want that of a line told already", err)
	}
	if !strings.HasPrefix(stderr, "-:2: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("told %q, want line 2", stderr)
	}
	if n := strings.Count(out, "\n"); n != 2 {
		t.Errorf("%d lines answered, want 2", n)
	}
	if _, _, err := simulateCommand("", filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v of a file that is not there", err)
	}
}
