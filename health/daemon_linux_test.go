package health

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemon is a real server on loopback, in a directory of its own, for one test.
type daemon struct {
	t      *testing.T
	dir    string
	addr   netip.AddrPort
	owner  *syscall.Credential // nil is us
	leader *exec.Cmd
	taken  map[int]bool // ports of loopback
}

// patience is how long what is to happen may take on a machine that does much else.
const patience = time.Minute

// newDaemon skips the test where a program of the Debian package is missing.
func newDaemon(t *testing.T, debian string, programs ...string) *daemon {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real server")
	}
	for _, p := range programs {
		if program(p) == "" {
			t.Skipf("%s is not installed (Debian package %s)", p, debian)
		}
	}
	dir, err := os.MkdirTemp("", "golb-health-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &daemon{t: t, dir: dir}
	d.addr = d.another()
	return d
}

// program finds a program, also where daemons are; "" is nowhere.
func program(name string) string {
	dirs := []string{"/usr/sbin", "/sbin"}
	if more, err := filepath.Glob("/usr/lib/postgresql/*/bin"); err == nil {
		dirs = append(dirs, more...)
	}
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, d := range dirs {
		if p := filepath.Join(d, name); exec.Command(p).Path == p {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return ""
}

func (d *daemon) needRoot() {
	if os.Geteuid() != 0 {
		d.t.Skip("the server starts as root only")
	}
}

// as makes the daemon run as another user where we are root.
func (d *daemon) as(name string) {
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup(name)
	if err != nil {
		d.t.Skip(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	d.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(d.dir, uid, gid); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) port() string { return strconv.Itoa(int(d.addr.Port())) }

// another is another address of the daemon, free for TCP and UDP. Kernels hand out
// ports from 32768 on: none of these is taken by a connection of another process
// before the daemon has it.
func (d *daemon) another() netip.AddrPort {
	d.t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(32768-10000)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if d.taken[port] {
			continue
		}
		stream, err := net.Listen("tcp4", addr)
		if err != nil {
			continue
		}
		_ = stream.Close()
		packets, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		_ = packets.Close()
		if d.taken == nil {
			d.taken = map[int]bool{}
		}
		d.taken[port] = true
		return netip.MustParseAddrPort(addr)
	}
	d.t.Fatal("no free port")
	return netip.AddrPort{}
}

// file writes a file; DIR and PORT are replaced in its content.
func (d *daemon) file(name, content string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	content = strings.NewReplacer("DIR", d.dir, "PORT", d.port()).Replace(content)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
	return path
}

func (d *daemon) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(program(name), args...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: d.owner, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs a program to its end.
func (d *daemon) run(name string, args ...string) {
	d.t.Helper()
	if out, err := d.command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// start starts the server in the foreground. Its log is shown where the test fails.
func (d *daemon) start(name string, args ...string) {
	d.t.Helper()
	log, err := os.Create(filepath.Join(d.dir, "log"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.leader = d.command(name, args...)
	d.leader.Stdout, d.leader.Stderr = log, log
	if err := d.leader.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		d.stop()
		_ = log.Close()
		if out, err := os.ReadFile(log.Name()); err == nil && d.t.Failed() {
			d.t.Logf("log of %s: %s", name, out[max(0, len(out)-3000):])
		}
	})
}

func (d *daemon) signal(s syscall.Signal) {
	if err := syscall.Kill(-d.leader.Process.Pid, s); err != nil {
		d.t.Errorf("kill: %v", err)
	}
}

func (d *daemon) stop() {
	if d.leader.ProcessState == nil {
		d.signal(syscall.SIGKILL)
		_ = d.leader.Wait()
	}
}

// check makes one check and returns its reason.
func (d *daemon) check(c Checker, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(d.t.Context(), limit)
	defer cancel()
	return reasonOf(c.Check(ctx))
}

// await waits until a check of the daemon, which has just started, succeeds.
func (d *daemon) await(c Checker) {
	d.t.Helper()
	reason := "not checked"
	for end := time.Now().Add(patience); reason != "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		reason = d.check(c, 10*time.Second)
	}
	if reason != "" {
		d.t.Fatalf("not up: %s", reason)
	}
}

// becomes checks until the reason is the wanted one: signals take their time, and the
// kernel closes the sockets of a killed group one process after the other. Each
// question has more time than the last: a slow machine gets it, and few of them wait
// for a frozen server, whose queue is short.
func (d *daemon) becomes(name string, check Checker, want string) {
	d.t.Helper()
	got, limit := "", 300*time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if got = d.check(check, limit); got == want || time.Now().After(end) {
			break
		}
		limit = min(2*limit, 10*time.Second)
	}
	if got != want {
		d.t.Errorf("%s: got %s, want %s", name, got, want)
	}
}

// live tests a check against the daemon: up once it has started; the reason of each
// question that is wrong; frozen, when the kernel still accepts for it and nobody
// answers; and killed. The others are up, too.
func (d *daemon) live(check Checker, frozen, killed string, wrong map[string]Checker, others ...Checker) {
	t := d.t
	t.Helper()
	d.await(check)
	for want, c := range wrong {
		if got := d.check(c, patience); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s...", got, want)
		}
	}
	for i, c := range others {
		if got := d.check(c, patience); got != "" {
			t.Errorf("other %d (%T) is down: %s", i, c, got)
		}
	}
	d.signal(syscall.SIGSTOP)
	d.becomes("frozen", check, frozen)
	d.signal(syscall.SIGCONT)
	if got := d.check(check, patience); got != "" {
		t.Errorf("thawed: %s", got)
	}
	d.stop()
	d.becomes("killed", check, strings.ReplaceAll(killed, "ADDR", d.addr.String()))
}

func mustExpect(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// page is a real web server with one page.
func page(t *testing.T, text string) *url.URL {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/"
	return u
}

// certificateFiles writes a certificate that is valid for a day.
func certificateFiles(t *testing.T, d *daemon) (cert, key string) {
	t.Helper()
	pair, _ := certificate(t, 24*time.Hour)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if d.owner != nil {
		defer func() { _ = os.Chown(key, int(d.owner.Uid), int(d.owner.Gid)); _ = os.Chmod(key, 0o600) }()
	}
	cert = d.file("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	key = d.file("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return cert, key
}
