package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxSize bounds a file in bytes.
const maxSize = 64 << 20

// readTime is how long reading a file may take: a network file system may hang for ever.
const readTime = 10 * time.Second

// Stdin is the name of the standard input, for a file. It can be read once.
const Stdin = "-"

// readFile reads a regular file, the standard input, or another file that this process has
// open already, as a shell's <(command). It gives up after a time; what hangs is left behind.
func readFile(path string, limit time.Duration) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := readAll(path)
		done <- result{data, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.data, r.err
	case <-timer.C:
		return nil, fmt.Errorf("conf: read %s: not done within %v", path, limit)
	}
}

func readAll(path string) ([]byte, error) {
	f := os.Stdin
	if path != Stdin {
		var err error
		if f, err = openRegular(path); err != nil {
			return nil, fmt.Errorf("conf: %w", err)
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("conf: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("conf: read %s: larger than %d MiB", path, maxSize>>20)
	}
	return data, nil
}

var errNotRegular = errors.New("not a regular file; allowed: a regular file, or - for the standard input")

// openRegular opens a regular file, or one that this process has open.
func openRegular(path string) (*os.File, error) {
	// Without O_NONBLOCK opening a named pipe waits for somebody to write to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !isOpen(path) {
		err = &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
		if info.IsDir() {
			err = &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// isOpen reports whether a path names a file that this process has open.
func isOpen(path string) bool {
	return path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/self/fd/")
}
