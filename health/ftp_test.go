package health

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

func TestFTPLogin(t *testing.T) {
	testAnswers(t, []answers{
		{"anonymous", &FTP{}, []string{"< 220 files", "> USER anonymous", "< 331 who", "> PASS golb@", "< 230 in", "> QUIT"}, ""},
		{"no password wanted", &FTP{Login: "u"}, []string{"< 220 files", "> USER u", "< 230 in", "> QUIT"}, ""},
		{"login refused", &FTP{Login: "u", Password: "p"}, []string{"< 220 files", "> USER u", "< 331 who", "> PASS p", "< 530 no"}, `PASS: got "530 no", want 230`},
		{"account wanted", &FTP{Login: "u"}, []string{"< 220 files", "> USER u", "< 332 account"}, `USER: got "332 account", want 230 or 331`},
		{"not in service", &FTP{}, []string{"< 421 later"}, `greeting: got "421 later", want 220`},
		{"no such command", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 500 what"}, `EPSV: got "500 what", want 229`},
		{"no port", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 229 ok (|||x|)"}, `EPSV: got "229 ok (|||x|)", want 229 text (|||port|)`},
	}, func(c Checker, d DialFunc) { c.(*FTP).Dial, c.(*FTP).Addr = d, somewhere })
}

func TestFTPFile(t *testing.T) {
	tests := []struct {
		name   string
		file   string
		answer string // to RETR
		want   string
	}{
		{"match", "all is OK here", "150 here", ""},
		{"no match", "sorry", "150 here", `file /f: got "sorry", want a match of "OK"`},
		{"no such file", "", "550 no such file", `RETR: got "550 no such file", want 1xx`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				control := dialogue(t, "< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 229 ok (|||4321|)", "> RETR /f", "< "+tt.answer)
				data := server(func(conn net.Conn) { _, _ = io.WriteString(conn, tt.file) })
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					if address == "192.0.2.1:4321" {
						return data.dial(ctx, network, address)
					}
					return control.dial(ctx, network, address)
				}
				got := ask(t, &FTP{Addr: somewhere, Dial: dial, Path: "/f", Expect: regexp.MustCompile("OK")})
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// The control connection is as it should be, the data connection is not.
func TestFTPDataAgainstHostileServers(t *testing.T) {
	tests := []struct {
		name string
		data server // nil refuses
		want string
	}{
		{"refused", nil, "data: connect to 192.0.2.1:4321: connection refused"},
		{"silent", keepOpen, `file /f: no answer in time`},
		{"closes", func(net.Conn) {}, `file /f: got "", want a match of "OK"`},
		{"slow", func(conn net.Conn) { _, _ = io.WriteString(drip{conn}, "all is OK") }, `file /f: no answer in time after 2 bytes without a match of "OK", which begin "al"`},
		{"endless", saysForever("", "x").do, `file /f: no match of "OK" in the first 256 KiB, which begin "` + strings.Repeat("x", 80) + `"...`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				control := dialogue(t, "< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 229 ok (|||4321|)", "> RETR /f", "< 150 here")
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					switch {
					case address != "192.0.2.1:4321":
						return control.dial(ctx, network, address)
					case tt.data == nil:
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
					}
					return tt.data.dial(ctx, network, address)
				}
				got := ask(t, &FTP{Addr: somewhere, Dial: dial, Path: "/f", Expect: regexp.MustCompile("OK")})
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}
