package health

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// FTP logs in to a file server and, where Path is set, fetches that file (RFC 959;
// passive mode by EPSV, RFC 2428, or by PASV where an IPv4 server does not know EPSV):
// ldirectord's ftp, but every step must succeed.
type FTP struct {
	Addr            netip.AddrPort
	Login, Password string         // "" means anonymous, with password golb@
	Path            string         // file to fetch; "" is none
	Expect          *regexp.Regexp // must match in the first 256 KiB of the file; nil: one byte is enough
	Security        Security       // "" means Plain; StartTLS is AUTH TLS (RFC 4217)
	TLSOptions
	Dial DialFunc
}

// Check logs in, fetches the file if there is one, and quits.
func (c *FTP) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "" || c.Path != "", c.check)
}

func (c *FTP) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	start, private := c.Security == StartTLS, c.Security == StartTLS || c.Security == Implicit
	steps := []step{
		{on: c.Security == Implicit, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { _, err := s.readReply("greeting", "220"); return err }},
		{on: start, do: s.commandStep("AUTH", "AUTH TLS", "234")},
		{on: start, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { return c.login(s) }},
		{on: c.Path != "" && private, do: s.commandStep("PBSZ", "PBSZ 0", "200")},
		{on: c.Path != "" && private, do: s.commandStep("PROT", "PROT P", "200")},
		{on: c.Path != "", do: s.commandStep("TYPE", "TYPE I", "200")},
		{on: c.Path != "", do: func() error { return c.fetch(ctx, s, private) }},
	}
	if err := runSteps(steps); err != nil {
		return err
	}
	s.quit("QUIT")
	return nil
}

func (c *FTP) login(s *session) error {
	user, password := c.Login, c.Password
	if user == "" {
		user, password = "anonymous", "golb@"
	}
	answer, err := s.command("USER", "USER "+user, "")
	if err != nil {
		return err
	}
	switch answer[:3] {
	case "230": // no password needed
		return nil
	case "331":
		_, err := s.command("PASS", "PASS "+password, "230")
		return err
	}
	return mismatch("USER", answer, "230 or 331")
}

// fetch reads the file. The data connection goes to the server's own address and not
// to the one in its reply: that works through NAT too, and a hostile server cannot
// point the check at another host.
func (c *FTP) fetch(ctx context.Context, s *session, private bool) error {
	port, err := c.passive(s)
	if err != nil {
		return err
	}
	data, err := dialSession(ctx, c.Dial, "tcp", netip.AddrPortFrom(c.Addr.Addr(), port).String())
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer data.close()
	if _, err := s.command("RETR", "RETR "+c.Path, "1"); err != nil {
		return err
	}
	if private {
		if err := data.startTLS(c.config(c.Addr.Addr())); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	if c.Expect == nil {
		return data.readFull("file "+c.Path, make([]byte, 1))
	}
	return matchAnswer(ctx, "file "+c.Path, data.in, c.Expect, maxRead)
}

// passive has the server listen for a data connection and returns its port.
func (c *FTP) passive(s *session) (uint16, error) {
	var also []string
	if c.Addr.Addr().Unmap().Is4() {
		also = []string{"5"}
	}
	answer, err := s.command("EPSV", "EPSV", "229", also...)
	if err != nil {
		return 0, err
	}
	if answer[0] == '2' {
		return epsvPort(answer)
	}
	if answer, err = s.command("PASV", "PASV", "227"); err != nil {
		return 0, err
	}
	return pasvPort(answer)
}

// pasvPort returns the port in "227 text (h1,h2,h3,h4,p1,p2)"; some servers leave out
// the parentheses.
func pasvPort(answer string) (uint16, error) {
	var h [4]uint8
	var high, low uint8
	if i := strings.IndexAny(answer[3:], "0123456789"); i >= 0 {
		_, err := fmt.Sscanf(answer[3+i:], "%d,%d,%d,%d,%d,%d", &h[0], &h[1], &h[2], &h[3], &high, &low)
		if port := uint16(high)<<8 | uint16(low); err == nil && port > 0 {
			return port, nil
		}
	}
	return 0, mismatch("PASV", answer, "227 text (h1,h2,h3,h4,p1,p2)")
}

// epsvPort returns the port in "229 text (|||port|)"; any character may be the bar.
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
	return 0, mismatch("EPSV", answer, "229 text (|||port|)")
}

// FTPType returns the type of [FTP].
func FTPType() Type {
	return Type{Name: "ftp", About: "FTP login, and fetch a file", Transport: "tcp", Port: 21,
		Bind: func(k *Keys, p Peer) Checker {
			c := &FTP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Login(&c.Login, &c.Password)
			k.String(&c.Path, "path,request", "", "file to fetch; none where not given")
			k.Expect(&c.Expect, "the file")
			bindSecurity(k, &c.Security, Plain, &c.TLSOptions)
			return c
		}}
}
