// Command api shows the module's exported API, and what changed in it since a version.
//
//	go run ./.ci/api               # one line for each package, function, type, field, method, constant and variable
//	go run ./.ci/api diff          # what has come and gone since the newest version that is recorded beside this file
//	go run ./.ci/api update v0.1.0 # record it, when that version is made
//
// It runs in the module's root.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const directory = ".ci/api"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		lines, err := exportedAPI()
		if err != nil {
			return err
		}
		_, err = os.Stdout.WriteString(text(lines))
		return err
	case len(args) == 1 && args[0] == "diff":
		return diff()
	case len(args) == 2 && args[0] == "update" && versionName.MatchString(args[1]):
		lines, err := exportedAPI()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(directory, args[1]+".txt"), []byte(text(lines)), 0o644)
	}
	return fmt.Errorf("usage: go run ./%s [diff | update v1.2.3]", directory)
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// diff prints what the exported API has and the newest recorded version has not, and the
// other way around.
func diff() error {
	version, err := newest()
	if err != nil {
		return err
	}
	if version == "" {
		fmt.Printf("no version is recorded: go run ./%s update v0.1.0\n", directory)
		return nil
	}
	recorded, err := os.ReadFile(filepath.Join(directory, version+".txt"))
	if err != nil {
		return err
	}
	now, err := exportedAPI()
	if err != nil {
		return err
	}
	changes := map[string]string{}
	for line := range bytes.Lines(recorded) {
		changes[string(bytes.TrimSpace(line))] = "-"
	}
	for _, line := range now {
		if changes[line] == "-" {
			delete(changes, line)
		} else {
			changes[line] = "+"
		}
	}
	delete(changes, "")
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "since %s: %d lines of API changed\n", version, len(changes))
	for _, line := range slices.Sorted(maps.Keys(changes)) {
		fmt.Fprintln(out, changes[line], line)
	}
	return out.Flush()
}

var versionName = regexp.MustCompile(`^v(\d+)\.(\d+)\.(\d+)$`)

// newest is the newest version that is recorded, "" where none is.
func newest() (string, error) {
	files, err := filepath.Glob(filepath.Join(directory, "v*.txt"))
	if err != nil {
		return "", err
	}
	var versions []string
	for _, f := range files {
		if v := strings.TrimSuffix(filepath.Base(f), ".txt"); versionName.MatchString(v) {
			versions = append(versions, v)
		}
	}
	if len(versions) == 0 {
		return "", nil
	}
	return slices.MaxFunc(versions, compareVersions), nil
}

func compareVersions(a, b string) int {
	x, y := versionName.FindStringSubmatch(a), versionName.FindStringSubmatch(b)
	return slices.CompareFunc(x[1:], y[1:], func(a, b string) int {
		m, _ := strconv.Atoi(a)
		n, _ := strconv.Atoi(b)
		return cmp.Compare(m, n)
	})
}
