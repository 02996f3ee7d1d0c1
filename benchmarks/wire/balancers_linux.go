package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/golb/golb/lb/lbtest/lab"
)

// setting is how a balancer is to be started.
type setting struct {
	cpu     int // to stay on, counted from 1; 0 means any
	poll    bool
	workers int
	profile string
	dir     string // for files
}

// balancing is a balancer that runs.
type balancing struct {
	target  netip.AddrPort // what clients ask for
	process *process       // nil where it is the kernel
}

func (b *balancing) stop() error {
	if b.process == nil {
		return nil
	}
	return b.process.stop()
}

// missing says why a row cannot be measured here; "" where it can.
func missing(r row) string {
	program := map[string]string{rowNft: "nft", rowHAProxy: "haproxy", rowNginx: "nginx"}[r.name]
	if program == "" {
		return ""
	}
	path, ok := installed(program)
	if !ok {
		return program + " is not installed"
	}
	if r.name == rowNginx {
		if _, err := streamModule(path); err != nil {
			return err.Error()
		}
	}
	return ""
}

// start starts the balancer of a row.
func (s *site) start(ctx context.Context, r row, set setting) (*balancing, error) {
	b := &balancing{target: vip}
	var err error
	switch r.name {
	case rowDirect:
		b.target = netip.AddrPortFrom(servers[0], vip.Port())
	case rowKernel:
		b.target = netip.AddrPortFrom(servers[0], vip.Port())
		err = s.forwards()
	case rowNft:
		err = errors.Join(s.ownVIP(), s.forwards(), s.translate(ctx))
	case rowHAProxy, rowNginx:
		if err = s.ownVIP(); err == nil {
			b.process, err = s.proxy(ctx, r, set)
		}
	case rowReflector:
		err = errors.Join(s.knowVIP(), s.server.SolveARPProblem(vip.Addr()))
		if err == nil {
			b.process, err = s.launchBalancer(ctx, roleReflector, "", set)
		}
	case rowDSR, rowNAT, rowTUN:
		b.process, err = s.golb(ctx, r, set)
	default:
		err = errors.New("no such row")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return b, nil
}

// ownVIP makes the VIP one of the balancer's addresses.
func (s *site) ownVIP() error {
	return s.balancer.AddAddr("eth0", netip.PrefixFrom(vip.Addr(), 32))
}

func (s *site) forwards() error {
	return errors.Join(s.balancer.Sysctl("net.ipv4.ip_forward", "1"), s.knowServers(s.interfaces[len(s.interfaces)-1]))
}

// translate has nftables share connections out over the servers in turn.
func (s *site) translate(ctx context.Context) error {
	path, _ := installed("nft")
	var choices []string
	for i, a := range servers {
		choices = append(choices, fmt.Sprintf("%d : %s", i, a))
	}
	var rules strings.Builder
	rules.WriteString("table ip wire {\n chain in {\n  type nat hook prerouting priority dstnat\n")
	for _, proto := range []string{"tcp", "udp"} {
		fmt.Fprintf(&rules, "  ip daddr %s %s dport %d dnat to numgen inc mod %d map { %s }\n",
			vip.Addr(), proto, vip.Port(), len(servers), strings.Join(choices, ", "))
	}
	rules.WriteString(" }\n}\n")
	return run(ctx, s.balancer, exec.CommandContext(ctx, path, "-f", "-"), rules.String())
}

// run runs a program that ends by itself.
func run(ctx context.Context, h *lab.Host, cmd *exec.Cmd, input string) error {
	p, err := launch(h, filepath.Base(cmd.Path), cmd)
	if err != nil {
		return err
	}
	if err := p.writeLine(input); err != nil {
		return errors.Join(err, p.stop())
	}
	_ = p.in.Close()
	for p.out.Scan() {
	}
	return p.ended(p.cmd.Wait())
}

func (s *site) golb(ctx context.Context, r row, set setting) (*process, error) {
	method := map[string]string{rowDSR: "dsr", rowNAT: "nat", rowTUN: "tun"}[r.name]
	if r.name != rowNAT {
		if err := s.server.SolveARPProblem(vip.Addr()); err != nil {
			return nil, err
		}
	}
	if r.name == rowTUN {
		if _, err := s.server.Decapsulate(lab.DecapConfig{}); err != nil {
			return nil, err
		}
	}
	return s.launchBalancer(ctx, roleGolb, method, set)
}

func (s *site) launchBalancer(ctx context.Context, role, method string, set setting) (*process, error) {
	o := order{
		Role: role, Interfaces: s.interfaces, Method: method, VIP: vip, Servers: servers, To: s.serverMAC,
		Workers: set.workers, Poll: set.poll, Profile: set.profile, CPU: set.cpu,
	}
	return launchRole(ctx, s.balancer, o)
}

// proxy starts a balancer that ends TCP connections and makes others.
func (s *site) proxy(ctx context.Context, r row, set setting) (*process, error) {
	if r.name == rowHAProxy {
		path, _ := installed("haproxy")
		file := filepath.Join(set.dir, "haproxy.cfg")
		if err := os.WriteFile(file, []byte(haproxyConfig()), 0o600); err != nil {
			return nil, err
		}
		return launch(s.balancer, r.name, exec.CommandContext(ctx, path, "-db", "-f", file))
	}
	path, _ := installed("nginx")
	module, err := streamModule(path)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(set.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(nginxConfig(module, set.dir)), 0o600); err != nil {
		return nil, err
	}
	return launch(s.balancer, r.name, exec.CommandContext(ctx, path, "-e", "stderr", "-p", set.dir, "-c", file))
}

func haproxyConfig() string {
	var b strings.Builder
	b.WriteString("global\n maxconn 8000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n" +
		" retries 3\n")
	fmt.Fprintf(&b, "listen wire\n bind %s backlog 4096\n balance roundrobin\n", vip)
	for i, a := range servers {
		fmt.Fprintf(&b, " server s%d %s\n", i, netip.AddrPortFrom(a, vip.Port()))
	}
	return b.String()
}

func nginxConfig(module, dir string) string {
	var b strings.Builder
	if module != "" {
		fmt.Fprintf(&b, "load_module %s;\n", module)
	}
	fmt.Fprintf(&b, "daemon off;\nuser root;\nworker_processes auto;\npid %s;\nerror_log stderr error;\n", filepath.Join(dir, "nginx.pid"))
	b.WriteString("events { worker_connections 8000; }\nstream {\n upstream wire {\n")
	for _, a := range servers {
		fmt.Fprintf(&b, "  server %s;\n", netip.AddrPortFrom(a, vip.Port()))
	}
	fmt.Fprintf(&b, " }\n server {\n  listen %s backlog=4096 reuseport;\n  proxy_pass wire;\n }\n}\n", vip)
	return b.String()
}

var modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)

// streamModule is the file of nginx's stream module; "" where that is built in.
func streamModule(nginx string) (string, error) {
	built, err := exec.Command(nginx, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -V: %w", err)
	}
	return streamModuleIn(string(built), func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	})
}

// streamModuleIn finds it in what nginx -V prints.
func streamModuleIn(built string, exists func(file string) bool) (string, error) {
	const static, dynamic = "--with-stream", "--with-stream=dynamic"
	for option := range strings.FieldsSeq(built) {
		switch option {
		case static:
			return "", nil
		case dynamic:
			m := modulesPath.FindStringSubmatch(built)
			if m == nil {
				return "", errors.New("nginx names no directory of modules")
			}
			file := filepath.Join(m[1], "ngx_stream_module.so")
			if !exists(file) {
				return "", errors.New("nginx's stream module is not installed")
			}
			return file, nil
		}
	}
	return "", errors.New("nginx is built without the stream module")
}
