package health

import (
	"context"
	"io"
	"net"
	"regexp"
	"slices"
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
		{"neither passive command", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 500 what", "> PASV", "< 502 no"}, `PASV: got "502 no", want 227`},
		{"no port of PASV", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 500 what", "> PASV", "< 227 ok (1,2,3,4,256,1)"}, `PASV: got "227 ok (1,2,3,4,256,1)", want 227 text (h1,h2,h3,h4,p1,p2)`},
		{"busy", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 425 later"}, `EPSV: got "425 later", want 229`},
		{"no port", &FTP{Path: "f"}, []string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok", "> EPSV", "< 229 ok (|||x|)"}, `EPSV: got "229 ok (|||x|)", want 229 text (|||port|)`},
	}, func(c Checker, d DialFunc) { c.(*FTP).Dial, c.(*FTP).Addr = d, somewhere })
}

func TestFTPFile(t *testing.T) {
	epsv := []string{"> EPSV", "< 229 ok (|||4321|)"}
	pasv := []string{"> EPSV", "< 502 what", "> PASV", "< 227 Entering Passive Mode (10,0,0,1,16,225)"} // an address behind NAT
	noAddress := []string{"> EPSV", "< 500 what", "> PASV", "< 227 =10,0,0,1,16,225"}
	tests := []struct {
		name    string
		passive []string
		file    string
		answer  string // to RETR
		want    string
	}{
		{"match", epsv, "all is OK here", "150 here", ""},
		{"PASV", pasv, "all is OK here", "150 here", ""},
		{"PASV without brackets", noAddress, "all is OK here", "150 here", ""},
		{"no match", epsv, "sorry", "150 here", `file /f: got "sorry", want a match of "OK"`},
		{"no such file", epsv, "", "550 no such file", `RETR: got "550 no such file", want 1xx`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				control := dialogue(t, slices.Concat([]string{"< 220 files", "> ...", "< 230 in", "> TYPE I", "< 200 ok"}, tt.passive, []string{"> RETR /f", "< " + tt.answer})...)
				data := server(func(conn net.Conn) { _, _ = io.WriteString(conn, tt.file) })
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					if address == "192.0.2.1:4321" {
						return data.dial(ctx, network, address)
					}
					return control.dial(ctx, network, address)
				}
				got := checkOnce(t, &FTP{Addr: somewhere, Dial: dial, Path: "/f", Expect: regexp.MustCompile("OK")})
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
		{"endless", func(conn net.Conn) { forever(conn, "x") }, `file /f: no match of "OK" in the first 256 KiB, which begin "` + strings.Repeat("x", 80) + `"...`},
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
				got := checkOnce(t, &FTP{Addr: somewhere, Dial: dial, Path: "/f", Expect: regexp.MustCompile("OK")})
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}
