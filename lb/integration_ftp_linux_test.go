package lb_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// ftpSite is a client, two FTP servers for DSR beside golb, and two for NAT behind it.
type ftpSite struct {
	*testNetwork
	file string // what is transferred
	sum  []byte
}

// ftpVIPs are those of DSR and of NAT.
var ftpVIPs = map[lb.Method]pair{lb.DSR: frontNet.at(100), lb.NAT: frontNet.at(101)}

const ftpServers = 2

func newFTPSite(t *testing.T) *ftpSite {
	t.Helper()
	for _, program := range []string{"vsftpd", "curl", "lftp"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v; the Debian package %s has it", err, program)
		}
	}
	s := &ftpSite{testNetwork: newTestNetwork(t, 0)}
	back := newSwitch(t, s.lab, "back")
	s.plug(s.golb, "eth1", back, backNet, 1)
	for n := range ftpServers {
		direct, behind := s.host(fmt.Sprint("direct", n)), s.host(fmt.Sprint("behind", n))
		s.plug(direct, "eth0", s.front, frontNet, 11+n)
		s.route(direct, subnet{}, edgeAt)
		vips := ftpVIPs[lb.DSR]
		must(t, direct.SolveARPProblem(vips[:]...))
		s.plug(behind, "eth0", back, backNet, 11+n)
		s.route(behind, subnet{}, backNet.at(1))
		s.serveFTP(direct)
		s.serveFTP(behind)
	}
	s.file = filepath.Join(t.TempDir(), "file")
	s.write(s.file, 3<<20)
	return s
}

// write makes a file of noise.
func (s *ftpSite) write(name string, size int64) {
	f, err := os.Create(name)
	must(s.t, err)
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), noise(size))
	must(s.t, err)
	must(s.t, f.Close())
	s.sum = h.Sum(nil)
}

// serveFTP runs vsftpd with a directory "in" that anybody may read and write, and in
// it an empty file of the host's name.
func (s *ftpSite) serveFTP(h *lab.Host) {
	dir := s.t.TempDir()
	root := filepath.Join(dir, "root")
	must(s.t, os.MkdirAll(filepath.Join(root, "in"), 0o777))
	must(s.t, os.Chmod(filepath.Join(root, "in"), 0o777))
	must(s.t, os.WriteFile(filepath.Join(root, "in", h.Name()), nil, 0o644))
	conf := filepath.Join(dir, "vsftpd.conf")
	must(s.t, os.WriteFile(conf, []byte(strings.Join([]string{
		"listen=NO", "listen_ipv6=YES", "background=NO", "run_as_launching_user=YES",
		"seccomp_sandbox=NO", "isolate=NO", "isolate_network=NO",
		"anonymous_enable=YES", "local_enable=NO", "no_anon_password=YES", "anon_root=" + root, "allow_writeable_chroot=YES",
		"write_enable=YES", "anon_upload_enable=YES", "anon_other_write_enable=YES", "anon_umask=022",
		"connect_from_port_20=YES", "",
	}, "\n")), 0o600))
	cmd := exec.Command("vsftpd", conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(s.t, h.Start(cmd))
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails where it has ended, as its output tells
		_ = cmd.Wait()
		if out.Len() > 0 {
			s.t.Logf("vsftpd on %s: %s", h.Name(), &out)
		}
	})
	must(s.t, eventually(func() error {
		conn, err := h.DialContext(s.t.Context(), "tcp", "127.0.0.1:21")
		if err == nil {
			conn.Close()
		}
		return err
	}))
}

// eventually tries until it succeeds, or it is time to give up.
func eventually(try func() error) (err error) {
	for end := time.Now().Add(giveUpAfter); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return err
}

func (s *ftpSite) config() lb.Config {
	cfg := lb.Config{Interfaces: []string{"eth0", "eth1"}, MaxConnections: 1 << 12}
	for method, vips := range ftpVIPs {
		for _, f := range families {
			v := lb.Service{VIP: vips[f], Port: 21, Method: method, Scheduler: "rr", Check: lb.Check{Type: "none"}}
			at := backNet
			if method == lb.DSR {
				v.Persistence.Timeout, at = time.Minute, frontNet
			}
			for n := range ftpServers {
				v.Servers = append(v.Servers, lb.Server{Address: at.at(11 + n)[f]})
			}
			cfg.Services = append(cfg.Services, v)
		}
	}
	return cfg
}

// program runs one on the client's host and returns what it printed.
func (s *ftpSite) program(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*giveUpAfter)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C")
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	must(t, s.client.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &diag)
	}
	return out.String()
}

// ftpModes are the ways in which a data connection is arranged, as curl's options.
var ftpModes = []struct {
	name string
	args []string
	ipv4 bool // IPv4 only
}{
	{"EPSV", nil, false},
	{"PASV", []string{"--disable-epsv", "--no-ftp-skip-pasv-ip"}, true},
	{"EPRT", []string{"--ftp-port", "-"}, false},
	{"PORT", []string{"--ftp-port", "-", "--disable-eprt"}, true},
}

// Real servers and clients: a file goes up and comes back the same, listings are
// listed, and all data connections go to the server of the control connection.
func TestFTPThroughEveryMethod(t *testing.T) {
	s := newFTPSite(t)
	b, stop := s.run(s.config())
	defer stop()
	for method, vips := range ftpVIPs {
		for _, f := range families {
			for _, mode := range ftpModes {
				if mode.ipv4 && f != 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", method, f, mode.name), func(t *testing.T) {
					before := s.connections(b, vips[f])
					s.transfer(t, vips[f], mode.args)
					now := s.connections(b, vips[f])
					for i := range now {
						now[i] -= before[i]
					}
					slices.Sort(now)
					// One for control; up, down, listing.
					if !slices.Equal(now, []uint64{0, 4}) {
						t.Errorf("the servers got %d connections, want 4 at one of them", now)
					}
				})
			}
		}
	}
}

// connections are those that the servers of a VIP have had.
func (s *ftpSite) connections(b *lb.Balancer, vip netip.Addr) (n []uint64) {
	for _, v := range b.Stats().Services {
		if v.Match[0].VIP.Addr() == vip {
			for _, r := range v.Servers {
				n = append(n, r.Connections)
			}
		}
	}
	return n
}

// transfer has curl send and fetch a file and list a directory on one control
// connection.
func (s *ftpSite) transfer(t *testing.T, vip netip.Addr, mode []string) {
	t.Helper()
	url := fmt.Sprintf("ftp://%s/in/", netip.AddrPortFrom(vip, 21))
	back := filepath.Join(t.TempDir(), "back")
	args := append([]string{"--silent", "--show-error", "--globoff"}, mode...)
	all := slices.Concat(args, []string{"-T", s.file, url + "sent", "--next"}, args, []string{"-o", back, url + "sent", "--next"}, args, []string{url})
	list := s.program(t, "curl", all...)
	got, err := os.ReadFile(back)
	must(t, err)
	if sum := sha256.Sum256(got); !bytes.Equal(sum[:], s.sum) {
		t.Errorf("%d bytes came back with SHA-256 %x, want %x", len(got), sum, s.sum)
	}
	if !strings.Contains(list, "sent") || strings.Count(list, "direct")+strings.Count(list, "behind") != 1 {
		t.Errorf("the server lists %q", list)
	}
}

// A session of many transfers: with NAT each adds to the shift of the control
// connection's sequence numbers.
func TestFTPSessionsOfManyTransfers(t *testing.T) {
	s := newFTPSite(t)
	b, stop := s.run(s.config())
	defer stop()
	const files = 40
	for method, vips := range ftpVIPs {
		for _, f := range families {
			for _, passive := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/passive=%v", method, f, passive), func(t *testing.T) {
					sent, back := t.TempDir(), t.TempDir()
					var script strings.Builder
					fmt.Fprintf(&script, "set net:max-retries 1; set net:timeout 60; set cmd:fail-exit yes; set ftp:fix-pasv-address no; set ftp:prefer-epsv no; set ftp:passive-mode %v; cd in; ", passive)
					for i := range files {
						must(t, os.WriteFile(filepath.Join(sent, name(i)), content(i), 0o600))
						fmt.Fprintf(&script, "put %s/%s; ls; get %[2]s -o %[3]s/%[2]s; ", sent, name(i), back)
					}
					before := s.connections(b, vips[f])
					s.program(t, "lftp", "-e", script.String()+"bye", fmt.Sprintf("ftp://%s/", netip.AddrPortFrom(vips[f], 21)))
					for i := range files {
						got, err := os.ReadFile(filepath.Join(back, name(i)))
						must(t, err)
						if want := content(i); !bytes.Equal(got, want) {
							t.Fatalf("file %d came back as %q, want %q", i, got, want)
						}
					}
					now := s.connections(b, vips[f])
					for i := range now {
						now[i] -= before[i]
					}
					slices.Sort(now)
					// A port that is taken again is no new connection; that is rare.
					if want := uint64(3 * files * 9 / 10); now[0] != 0 || now[1] < want {
						t.Errorf("the servers got %d connections, want at least %d at one of them", now, want)
					}
				})
			}
		}
	}
}

func name(i int) string { return fmt.Sprint("f", i) }

func content(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintln("file", i)), i) }
