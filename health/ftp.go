package health

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// FTP checks that a file server takes a login and, where a path is given, hands
// out that file (RFC 959; passive mode by EPSV, RFC 2428, or by PASV where an IPv4
// server does not know that): ldirectord's ftp. Unlike it, every step must succeed.
type FTP struct {
	Addr            netip.AddrPort
	Login, Password string         // "" means anonymous, with password golb@
	Path            string         // of the file; "" fetches none
	Expect          *regexp.Regexp // must match the file, in its first 256 KiB; nil: its first byte will do
	Security        Security       // "" means Plain; StartTLS is AUTH TLS (RFC 4217)
	TLSOptions
	Dial DialFunc
}

// Check logs in, fetches as far as it is told to, and quits.
func (c *FTP) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	say := func(what, command, want string) func() error {
		return func() error { _, err := t.command(what, command, want); return err }
	}
	start, private := c.Security == StartTLS, c.Security == StartTLS || c.Security == Implicit
	steps := []step{
		{on: c.Security == Implicit, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { _, err := t.reply("greeting", "220"); return err }},
		{on: start, do: say("AUTH", "AUTH TLS", "234")},
		{on: start, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { return c.login(t) }},
		{on: c.Path != "" && private, do: say("PBSZ", "PBSZ 0", "200")},
		{on: c.Path != "" && private, do: say("PROT", "PROT P", "200")},
		{on: c.Path != "", do: say("TYPE", "TYPE I", "200")},
		{on: c.Path != "", do: func() error { return c.fetch(ctx, t, private) }},
	}
	if err := walk(steps); err != nil {
		return err
	}
	t.bye("QUIT")
	return nil
}

func (c *FTP) login(t *talk) error {
	user, password := c.Login, c.Password
	if user == "" {
		user, password = "anonymous", "golb@"
	}
	answer, err := t.command("USER", "USER "+user, "")
	if err != nil {
		return err
	}
	switch answer[:3] {
	case "230": // no password wanted
		return nil
	case "331":
		_, err := t.command("PASS", "PASS "+password, "230")
		return err
	}
	return wanted("USER", answer, "230 or 331")
}

// fetch reads the file. The data connection goes to the server's own address,
// whatever address it names: with NAT that is the one that works, and a hostile
// server cannot point the check elsewhere.
func (c *FTP) fetch(ctx context.Context, t *talk, private bool) error {
	port, err := c.passive(t)
	if err != nil {
		return err
	}
	data, err := dialTalk(ctx, c.Dial, "tcp", netip.AddrPortFrom(c.Addr.Addr(), port).String())
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer data.close()
	if _, err := t.command("RETR", "RETR "+c.Path, "1"); err != nil {
		return err
	}
	if private {
		if err := data.startTLS(c.config(c.Addr.Addr())); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	if c.Expect == nil {
		return data.full("file "+c.Path, make([]byte, 1))
	}
	return search(ctx, "file "+c.Path, data.in, c.Expect, maxTalk)
}

// passive has the server listen for a data connection, and returns the port.
func (c *FTP) passive(t *talk) (uint16, error) {
	var also []string
	if c.Addr.Addr().Unmap().Is4() {
		also = []string{"5"}
	}
	answer, err := t.command("EPSV", "EPSV", "229", also...)
	if err != nil {
		return 0, err
	}
	if answer[0] == '2' {
		return epsvPort(answer)
	}
	if answer, err = t.command("PASV", "PASV", "227"); err != nil {
		return 0, err
	}
	return pasvPort(answer)
}

// pasvPort is the port in "227 text (h1,h2,h3,h4,p1,p2)"; not all servers write the
// brackets.
func pasvPort(answer string) (uint16, error) {
	var h [4]uint8
	var high, low uint8
	if i := strings.IndexAny(answer[3:], "0123456789"); i >= 0 {
		_, err := fmt.Sscanf(answer[3+i:], "%d,%d,%d,%d,%d,%d", &h[0], &h[1], &h[2], &h[3], &high, &low)
		if port := uint16(high)<<8 | uint16(low); err == nil && port > 0 {
			return port, nil
		}
	}
	return 0, wanted("PASV", answer, "227 text (h1,h2,h3,h4,p1,p2)")
}

// epsvPort is the port in "229 text (|||port|)"; any character may be the bar.
func epsvPort(answer string) (uint16, error) {
	_, inside, ok := strings.Cut(answer, "(")
	if ok && len(inside) > 5 {
		bar := inside[:1]
		if fields := strings.Split(inside, bar); len(fields) >= 5 {
			var port uint16
			if _, err := fmt.Sscanf(fields[3], "%d", &port); err == nil && port > 0 {
				return port, nil
			}
		}
	}
	return 0, wanted("EPSV", answer, "229 text (|||port|)")
}

// FTPType is the registry's entry of [FTP].
func FTPType() Type {
	return Type{Name: "ftp", About: "FTP login, and a file", Transport: "tcp", Port: 21,
		Bind: func(k *Keys, p Peer) Checker {
			c := &FTP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Login(&c.Login, &c.Password)
			k.String(&c.Path, "path,request", "", "file to fetch; none where not given")
			k.Expect(&c.Expect, "the file")
			bindSecurity(k, &c.Security, Plain, &c.TLSOptions)
			return c
		}}
}
