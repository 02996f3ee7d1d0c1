//go:build unix

package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const smallConfig = "interfaces: [eth0]\n"

func TestReadFileTakesRegularFilesAndOpenOnes(t *testing.T) {
	dir := t.TempDir()
	regular := filepath.Join(dir, "golb.yaml")
	if err := os.WriteFile(regular, []byte(smallConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(regular, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		regular: "", link: "",
		fifo:                       "not a regular file",
		"/dev/zero":                "not a regular file",
		"/dev/null":                "not a regular file",
		dir:                        "is a directory",
		filepath.Join(dir, "none"): "no such file",
	} {
		data, err := readFile(path, time.Minute)
		if want == "" && (err != nil || string(data) != smallConfig) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v; want error %q", path, data, err, want)
		}
	}
}

func TestReadFileTakesPipesOfThisProcess(t *testing.T) {
	for _, text := range []string{"", smallConfig} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		limit := time.Minute
		if text == "" {
			limit = 50 * time.Millisecond // nobody writes
		} else if _, err := w.WriteString(text); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		data, err := readFile(fmt.Sprintf("/dev/fd/%d", r.Fd()), limit)
		if text != "" && (err != nil || string(data) != text) || text == "" && (err == nil || !strings.Contains(err.Error(), "not done within")) {
			t.Errorf("a pipe with %q: %q, %v", text, data, err)
		}
		w.Close() // ends what waits
		r.Close()
	}
}
