package procgroup

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// slowWriter is a writer that is slower than the command.
type slowWriter struct{ strings.Builder }

func (l *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(4 * waitDelay)
	return l.Builder.Write(p)
}

func TestOutputIsWholeHoweverLateItIsRead(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"ends", "echo first; sleep 0.1; echo last", "first\nlast\n"},
		{"leaves the output to a child", "sleep 1000 & echo first; sleep 0.1; echo last", "first\nlast\n"},
		{"leaves it to one that leaves the group", "setsid sleep 2 & echo first; sleep 0.1; echo last", "first\nlast\n"},
		{"has no output", ":", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", tt.script)
			var out slowWriter
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := Run(cmd); err != nil || out.String() != tt.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, tt.want)
			}
		})
	}
}

func TestErrorsOfTheCommandAreReturned(t *testing.T) {
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "echo why >&2; exit 3")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := Run(cmd); err == nil || err.Error() != "exit status 3" || out.String() != "why\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	cmd = exec.CommandContext(t.Context(), "/nonexistent")
	cmd.Stdout = &out
	if err := Run(cmd); err == nil {
		t.Error("a program that is not there ran")
	}
}
