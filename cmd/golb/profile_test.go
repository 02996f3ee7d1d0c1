package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A default.pgo would be taken by plain go build and go run, and all packages compiled
// twice, with it and for tests without; the profile of releases is named instead.
func TestOnlyReleasesTakeTheProfile(t *testing.T) {
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "default.pgo" {
			t.Errorf("%s: name it otherwise", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, doc := range []string{"README.md", "benchmarks/README.md", ".ci/run"} {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`-pgo (\S+)`).FindAllSubmatch(text, -1)
		if len(names) == 0 {
			t.Errorf("%s names no profile", doc)
		}
		for _, name := range names {
			if info, err := os.Stat(filepath.Join(root, string(name[1]))); err != nil || info.Size() == 0 {
				t.Errorf("%s names %s: %v", doc, name[1], err)
			}
		}
	}
}
