package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says what was measured on, in one line.
func machine() string {
	parts := []string{fmt.Sprintf("%d processors (%s)", runtime.NumCPU(), processorName())}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		parts = append(parts, "Linux "+unix.ByteSliceToString(u.Release[:]))
	}
	parts = append(parts, runtime.Version())
	for _, tool := range []struct{ program, option string }{{"nft", "--version"}, {"haproxy", "-v"}, {"nginx", "-v"}} {
		if path, ok := installed(tool.program); ok {
			out, err := exec.Command(path, tool.option).CombinedOutput()
			if v := versionIn(string(out)); err == nil && v != "" {
				parts = append(parts, tool.program+" "+v)
			}
		}
	}
	return strings.Join(parts, ", ")
}

func processorName() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

var version = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// versionIn is the first version number in what a program says of itself.
func versionIn(text string) string { return version.FindString(text) }
