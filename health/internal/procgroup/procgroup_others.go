//go:build !unix

package procgroup

import (
	"io"
	"os"
	"os/exec"
)

func setGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func copyRest(io.Writer, *os.File) {}
