package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/golb/golb/health/internal/procgroup"
)

// External runs a command: ldirectord's external, keepalived's MISC_CHECK. Exit
// status 0 is up. Its arguments are Args, then, as with ldirectord, the service's
// address and port (0 and 0 where there is none) and the server's address and port.
// Its environment is GOLB_VIP, GOLB_VPORT, GOLB_RIP and GOLB_RPORT with the same four
// values, Env, and of this process's, which may have secrets, only PATH, HOME, USER, LOGNAME,
// SHELL, LANG, LANGUAGE, TZ, TMPDIR, and what begins with LC_ or GOLB_.
//
// The command leads a process group. When the check's timeout has passed or the command
// has ended, the rest of the group is killed: nothing that it started outlives the
// check. The last 512 bytes of its output are kept; the last line becomes part of the
// reason.
type External struct {
	Command string
	Args    []string // before the four of ldirectord
	Env     []string // NAME=value, added to its environment
	Service netip.AddrPort
	Addr    netip.AddrPort // of the server
}

// Check runs the command once.
func (c *External) Check(ctx context.Context) error {
	service, port := "0", "0"
	if c.Service.IsValid() {
		service, port = c.Service.Addr().String(), strconv.Itoa(int(c.Service.Port()))
	}
	server, serverPort := c.Addr.Addr().String(), strconv.Itoa(int(c.Addr.Port()))
	cmd := exec.CommandContext(ctx, c.Command, append(c.Args[:len(c.Args):len(c.Args)], service, port, server, serverPort)...)
	cmd.Env = append(procgroup.Environ(), "GOLB_VIP="+service, "GOLB_VPORT="+port, "GOLB_RIP="+server, "GOLB_RPORT="+serverPort)
	cmd.Env = append(cmd.Env, c.Env...)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	return c.result(ctx, procgroup.Run(cmd), out.lastLine())
}

// result is the reason where the command ended with err and a last line of output.
func (c *External) result(ctx context.Context, err error, output string) error {
	var exit *exec.ExitError
	if output != "" {
		output = ": " + quote(output)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: killed: %w%s", c.Command, netReason(ctx, ctx.Err()), output)
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return fmt.Errorf("%s: got %s, want exit status 0%s", c.Command, exit, output)
	}
	return fmt.Errorf("%s: %w", c.Command, netReason(ctx, err))
}

// tail keeps the last bytes written to it.
type tail struct{ b []byte }

const maxTail = 512

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, n-maxTail):]
	t.b = append(t.b[max(0, len(t.b)+len(p)-maxTail):len(t.b):len(t.b)], p...)
	return n, nil
}

func (t *tail) lastLine() string {
	lines := strings.Split(string(bytes.TrimSpace(t.b)), "\n")
	return lines[len(lines)-1]
}

// ExternalType returns the type of [External].
func ExternalType() Type {
	return Type{Name: "external", Also: []string{"external-perl"}, About: "run a command with the arguments VIP, port, RIP, port; exit status 0 is up", PerService: true,
		Bind: func(k *Keys, p Peer) Checker {
			c := &External{Addr: p.Addr, Service: p.Service}
			k.String(&c.Command, "command,checkcommand", "", "program to run").Require("/bin/true")
			k.List(&c.Args, "arg", "argument before VIP, port, RIP and port")
			env := k.List(&c.Env, "env", "NAME=value, added to its environment")
			env.Secret, env.ShownTo = true, "="
			return c
		}}
}
