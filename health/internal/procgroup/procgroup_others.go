//go:build !unix

package procgroup

import (
	"io"
	"os"
	"os/exec"
)

func lead(*exec.Cmd) {}

func kill(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func rest(io.Writer, *os.File) {}
