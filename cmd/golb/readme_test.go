package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb/lbtest/lab"
)

const repository = "../.."

// codeBlocks returns the fenced code blocks of the README in a language.
func codeBlocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?sm)^```"+language+"\n(.*?)^```$").FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	if len(found) == 0 {
		t.Fatalf("README.md has no block of %s", language)
	}
	return found
}

// Each command of the README is run by a test of this file, but for the one that
// runs this file.
func TestREADMECommandsAreTheTestedOnes(t *testing.T) {
	var got []string
	for _, b := range codeBlocks(t, "sh") {
		got = append(got, strings.Split(strings.TrimSpace(b), "\n")...)
	}
	want := []string{readmeDemo, readmeTest, readmeBuild, readmeCheck, readmeRun, readmeProbe, readmeList, readmeHealth,
		readmeServices, readmeConnections, readmeTemplates, readmeDrain}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ci, err := os.ReadFile(filepath.Join(repository, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\s*go test [^#|;]*-v \./\.\.\. `).Match(ci) {
		t.Errorf(".ci/run does not run %s", readmeTest)
	}
}

const (
	readmeDemo  = "go run ./cmd/golb demo"
	readmeTest  = "go test ./..."
	readmeBuild = "go build -o golb ./cmd/golb"
	readmeCheck = "./golb check golb.yaml"
	readmeRun   = "sudo ./golb run golb.yaml"

	readmeProbe  = "./golb probe tcp 192.0.2.11:80"
	readmeList   = "./golb probe --list"
	readmeHealth = "sudo ./golb health"

	readmeServices    = "sudo ./golb list"
	readmeConnections = "sudo ./golb connections --server 192.0.2.11 --count"
	readmeTemplates   = "sudo ./golb templates --client 203.0.113.7 --delete"
	readmeDrain       = "sudo ./golb drain 192.0.2.11 --within 10m"
)

// shell runs a command line of the README in a directory.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func TestREADMEShowsTheDemosOutput(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	out := shell(t, repository, readmeDemo)
	if diff := cmp.Diff(withoutVariableParts(codeBlocks(t, "text")[0]), withoutVariableParts(out)); diff != "" {
		t.Errorf("-README +demo, numbers and servers aside:\n%s", diff)
	}
}

var (
	varies = []struct {
		re *regexp.Regexp
		by string
	}{
		{regexp.MustCompile(`(?m)^.* s    \d+ of \d+\n`), ""}, // as many as there are seconds
		{regexp.MustCompile(`; (no request failed|\d+ requests? failed).*`), "; COST"},
		{regexp.MustCompile(`(golb noticed after [^(\n]*)\([^)\n]*\)`), "$1(WHY)"},
		{regexp.MustCompile(`(to|from) s\d in`), "$1 SERVER in"},
		{regexp.MustCompile(`\d+(\.\d+)?`), "N"},
		{regexp.MustCompile(` +`), " "},
	}
)

// withoutVariableParts returns the lines of a text without what varies from run to run.
func withoutVariableParts(text string) []string {
	for _, v := range varies {
		text = v.re.ReplaceAllString(text, v.by)
	}
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
}

func TestREADMEProgramCompiles(t *testing.T) {
	body := strings.TrimSpace(codeBlocks(t, "go")[0])
	if n := strings.Count(body, "\n") + 1; n > 12 {
		t.Errorf("%d lines to embed golb", n)
	}
	source := fmt.Sprintf(`package readme

import (
	"context"
	"net/netip"

	"github.com/golb/golb/lb"
)

func balance(ctx context.Context) error {
%s
}

var _ = balance
`, body)
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "readme.go"), filepath.Join(dir, "overlay.json")
	at, err := filepath.Abs(filepath.Join(repository, "examples/readme/readme.go"))
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{file: source, overlay: fmt.Sprintf(`{"Replace":{%q:%q}}`, at, file)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shell(t, repository, "go build -overlay "+overlay+" ./examples/readme")
}

// The README's config and its commands, on a host for which they are right.
func TestREADMEConfigBalances(t *testing.T) {
	golbHost, client := readmeNetwork(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "golb.yaml"), []byte(codeBlocks(t, "yaml")[0]), 0o644); err != nil {
		t.Fatal(err)
	}
	shell(t, repository, strings.Replace(readmeBuild, "-o golb", "-o "+filepath.Join(dir, "golb"), 1))

	var checked string
	if err := golbHost.Do(func() error { checked = shell(t, dir, readmeCheck); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "golb.yaml: ok: 1 service, 2 servers, on eth0\n"; checked != want {
		t.Errorf("check says %q, want %q", checked, want)
	}

	second := filepath.Join(dir, "second.yaml")
	if err := os.WriteFile(second, []byte(codeBlocks(t, "yaml")[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "./golb check --host=false "+second); !strings.Contains(got, ": ok: 1 service, 2 servers") {
		t.Errorf("check of the second config says %q", got)
	}
	if got := shell(t, dir, readmeList); !strings.Contains(got, "http HOST[:PORT] (80): request a page over HTTP") {
		t.Errorf("probe --list says %q", got)
	}
	var probed string
	if err := golbHost.Do(func() error { probed = shell(t, dir, readmeProbe); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(probed, "up in ") {
		t.Errorf("probe says %q", probed)
	}

	t.Setenv("GOLB_SOCKET", filepath.Join(dir, "golb.sock")) // others may run
	args := strings.Fields(strings.TrimPrefix(readmeRun, "sudo "))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := golbHost.Start(cmd); err != nil {
		t.Fatal(err)
	}
	log := &entries{t, bufio.NewScanner(stderr)}
	log.next("forwarding")
	for n := range 3 {
		c, err := client.DialContext(t.Context(), "tcp", "192.0.2.100:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := io.ReadAll(c); string(got) != "hello" {
			t.Errorf("got %q, error %v", got, err)
		}
		awaitActive(t, dir, n+1)
	}
	if got := shell(t, dir, strings.TrimPrefix(readmeHealth, "sudo ")); !strings.HasPrefix(got, "tcp 192.0.2.100:80: 2 of 2 servers up\n") {
		t.Errorf("health says %q", got)
	}
	for line, want := range map[string]string{
		readmeServices:    `tcp 192\.0\.2\.100:80, wlc\n.*\n  192\.0\.2\.11:80  dsr +1 .*\n  192\.0\.2\.12:80  dsr +2 .*\n(.*\n)*`,
		readmeConnections: `1\n`, // of the three: wlc minds the weights
		readmeTemplates:   `0\n`,
	} {
		if got := shell(t, dir, strings.TrimPrefix(line, "sudo ")); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%s says %q, want %q", line, got, want)
		}
	}
	if got := shell(t, dir, strings.TrimPrefix(readmeDrain, "sudo ")); !strings.Contains(got, "up,drain") {
		t.Errorf("drain says %q", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for log.lines.Scan() { // to the end, so that Wait does not cut it off
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// awaitActive waits until golb has seen that n connections are established: another
// worker may come to the next one first.
func awaitActive(t *testing.T, dir string, n int) {
	t.Helper()
	column := regexp.MustCompile(` dsr +\d+ +up +(\d+) `)
	for active := -1; active != n; {
		active = 0
		for _, m := range column.FindAllStringSubmatch(shell(t, dir, strings.TrimPrefix(readmeServices, "sudo ")), -1) {
			of, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			active += of
		}
	}
}

// readmeNetwork is the network that the README's config is for.
func readmeNetwork(t *testing.T) (golbHost, client *lab.Host) {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	sw, err := l.Switch("sw")
	if err != nil {
		t.Fatal(err)
	}
	host := func(name, addr string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Attach(h, sw, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, s := range []struct{ name, addr string }{{"s1", "192.0.2.11/24"}, {"s2", "192.0.2.12/24"}} {
		h := host(s.name, s.addr)
		if err := h.SolveARPProblem(netip.MustParseAddr("192.0.2.100")); err != nil {
			t.Fatal(err)
		}
		ln, err := h.Listen(t.Context(), "tcp", "0.0.0.0:80")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); greetAll(ln) }()
		t.Cleanup(func() { ln.Close(); <-done })
	}
	return host("golb", "192.0.2.2/24"), host("client", "192.0.2.10/24")
}

// greetAll says hello to who connects and hangs up.
func greetAll(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "hello") // fails for health checks that hang up at once
		c.Close()
	}
}
