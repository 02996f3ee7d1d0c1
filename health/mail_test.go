package health

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSMTP(t *testing.T) {
	testAnswers(t, []answers{
		{"up", &SMTP{}, []string{"< 220 mx", "> EHLO localhost", "< 250 mx", "> QUIT", "< 221 bye"}, ""},
		{"replies on several lines", &SMTP{Hello: "lb.example"}, []string{"< 220-mx", "< 220 ready", "> EHLO lb.example", "< 250-mx", "< 250-SIZE 1", "< 250 HELP", "> QUIT"}, ""},
		{"not in service", &SMTP{}, []string{"< 554 no service"}, `greeting: got "554 no service", want 220`},
		{"old server", &SMTP{Hello: "lb.example"}, []string{"< 220 mx", "> EHLO lb.example", "< 502 what", "> HELO lb.example", "< 250 mx", "> QUIT"}, ""},
		{"old server that refuses", &SMTP{}, []string{"< 220 mx", "> ...", "< 500 what", "> HELO localhost", "< 550 go away"}, `HELO: got "550 go away", want 250`},
		{"hello refused", &SMTP{}, []string{"< 220 mx", "> ...", "< 550 go away"}, `EHLO: got "550 go away", want 250`},
		{"another protocol", &SMTP{}, []string{"< SSH-2.0-OpenSSH"}, `greeting: got "SSH-2.0-OpenSSH", want 220`},
		{"silence after the hello", &SMTP{}, []string{"< 220 mx", "> ..."}, "EHLO: no answer in time"},
		{"login", &SMTP{Login: "u", Password: "p"}, []string{"< 220 mx", "> ...", "< 250 mx", "> AUTH PLAIN AHUAcA==", "< 235 yes", "> QUIT"}, ""},
		{"login refused", &SMTP{Login: "u", Password: "p"}, []string{"< 220 mx", "> ...", "< 250 mx", "> ...", "< 535 no"}, `AUTH: got "535 no", want 235`},
		{"no STARTTLS", &SMTP{Security: StartTLS}, []string{"< 220 mx", "> ...", "< 250 mx", "> STARTTLS", "< 502 no"}, `STARTTLS: got "502 no", want 220`},
	}, func(c Checker, d DialFunc) { c.(*SMTP).Dial, c.(*SMTP).Addr = d, somewhere })
}

func TestPOP3(t *testing.T) {
	testAnswers(t, []answers{
		{"up", &POP3{}, []string{"< +OK hello", "> QUIT"}, ""},
		{"not in service", &POP3{}, []string{"< -ERR later"}, `greeting: got "-ERR later", want +OK`},
		{"login", &POP3{Login: "u", Password: "p"}, []string{"< +OK", "> USER u", "< +OK", "> PASS p", "< +OK", "> QUIT"}, ""},
		{"login refused", &POP3{Login: "u", Password: "p"}, []string{"< +OK", "> USER u", "< +OK", "> PASS p", "< -ERR no"}, `PASS: got "-ERR no", want +OK`},
		{"no STLS", &POP3{Security: StartTLS}, []string{"< +OK", "> STLS", "< -ERR no"}, `STLS: got "-ERR no", want +OK`},
	}, func(c Checker, d DialFunc) { c.(*POP3).Dial, c.(*POP3).Addr = d, somewhere })
}

func TestIMAP(t *testing.T) {
	testAnswers(t, []answers{
		{"up", &IMAP{}, []string{"< * OK hello", "> z LOGOUT"}, ""},
		{"not in service", &IMAP{}, []string{"< * BYE later"}, `greeting: got "* BYE later", want * OK`},
		{"login", &IMAP{Login: "u", Password: `p"\`}, []string{"< * OK", `> a1 LOGIN "u" "p\"\\"`, "< * CAPABILITY IMAP4", "< a1 OK", "> z LOGOUT"}, ""},
		{"login refused", &IMAP{Login: "u"}, []string{"< * OK", "> ...", "< a1 NO bad"}, `LOGIN: got "a1 NO bad", want a1 OK`},
	}, func(c Checker, d DialFunc) { c.(*IMAP).Dial, c.(*IMAP).Addr = d, somewhere })
}

func TestNNTP(t *testing.T) {
	testAnswers(t, []answers{
		{"up", &NNTP{}, []string{"< 200 news", "> QUIT"}, ""},
		{"posting not allowed", &NNTP{}, []string{"< 201 news", "> QUIT"}, ""},
		{"not in service", &NNTP{}, []string{"< 400 later"}, `greeting: got "400 later", want 2xx`},
	}, func(c Checker, d DialFunc) { c.(*NNTP).Dial, c.(*NNTP).Addr = d, somewhere })
}

func TestTextProtocolsAgainstHostileServers(t *testing.T) {
	tests := []struct {
		name     string
		check    func(DialFunc) Checker
		dialogue []string
		more     string // an endless reply
		lines    string
	}{
		{"smtp", func(d DialFunc) Checker { return &SMTP{Addr: somewhere, Dial: d} }, []string{"< 220 mx", "> ...", "< 250 mx"},
			"220-more\r\n", `greeting: more than 100 lines: "220-more"`},
		{"nntp", func(d DialFunc) Checker { return &NNTP{Addr: somewhere, Dial: d} }, []string{"< 200 news"},
			"200-more\r\n", `greeting: more than 100 lines: "200-more"`},
		{"ftp", func(d DialFunc) Checker { return &FTP{Addr: somewhere, Dial: d} }, []string{"< 220 files", "> USER anonymous", "< 230 in"},
			"220-more\r\n", `greeting: more than 100 lines: "220-more"`},
		{"pop3", func(d DialFunc) Checker { return &POP3{Addr: somewhere, Dial: d} }, []string{"< +OK mx"}, "", ""},
		{"imap", func(d DialFunc) Checker { return &IMAP{Addr: somewhere, Dial: d, Login: "a"} }, []string{"< * OK", "> ...", "< a1 OK"},
			"* OK\r\n", "LOGIN: more than 100 lines without an answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testHostile(t, tt.check, dialogue(t, tt.dialogue...), hostile{
				silent:  "greeting: no answer in time",
				closes:  "greeting: connection closed",
				drips:   fmt.Sprintf("greeting: no answer in time after %q", tt.dialogue[0][2:4]),
				endless: `greeting: line longer than 2048 bytes: "` + strings.Repeat("x", 80) + `"...`,
				lines:   tt.lines,
				more:    tt.more,
			})
		})
	}
}

// upgrading is a server that starts TLS after a dialogue.
func upgrading(t *testing.T, cfg *tls.Config, plain []string, encrypted ...string) server {
	return func(conn net.Conn) {
		dialogueOn(t, conn, plain)
		dialogue(t, encrypted...).behindTLS(cfg)(conn)
	}
}

func TestMailOverTLS(t *testing.T) {
	cert, _ := certificate(t, time.Hour)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	tests := []struct {
		name  string
		check func(DialFunc) Checker
		serve server
	}{
		{"smtp, implicit", func(d DialFunc) Checker { return &SMTP{Addr: somewhere, Dial: d, Security: Implicit} },
			dialogue(t, "< 220 mx", "> EHLO localhost", "< 250 mx", "> QUIT").behindTLS(cfg)},
		{"smtp, STARTTLS", func(d DialFunc) Checker { return &SMTP{Addr: somewhere, Dial: d, Security: StartTLS} },
			upgrading(t, cfg, []string{"< 220 mx", "> ...", "< 250 mx", "> STARTTLS", "< 220 go"}, "> EHLO localhost", "< 250 mx", "> QUIT")},
		{"pop3, implicit", func(d DialFunc) Checker { return &POP3{Addr: somewhere, Dial: d, Security: Implicit} },
			dialogue(t, "< +OK", "> QUIT").behindTLS(cfg)},
		{"pop3, STLS", func(d DialFunc) Checker {
			return &POP3{Addr: somewhere, Dial: d, Security: StartTLS, Login: "u", Password: "p"}
		},
			upgrading(t, cfg, []string{"< +OK", "> STLS", "< +OK"}, "> USER u", "< +OK", "> PASS p", "< +OK", "> QUIT")},
		{"imap, implicit", func(d DialFunc) Checker { return &IMAP{Addr: somewhere, Dial: d, Security: Implicit} },
			dialogue(t, "< * OK", "> z LOGOUT").behindTLS(cfg)},
		{"imap, STARTTLS", func(d DialFunc) Checker { return &IMAP{Addr: somewhere, Dial: d, Security: StartTLS, Login: "u"} },
			upgrading(t, cfg, []string{"< * OK", "> a1 STARTTLS", "< a1 OK"}, `> a2 LOGIN "u" ""`, "< a2 OK", "> z LOGOUT")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := checkOnce(t, tt.check(tt.serve.dial)); got != "" {
					t.Errorf("down: %s", got)
				}
			})
		})
	}
	t.Run("text smuggled before the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			smuggler := server(func(conn net.Conn) {
				dialogueOn(t, conn, []string{"< 220 mx", "> ...", "< 250 mx", "> STARTTLS", `< 220 go` + "\r\n250 smuggled"})
				_, _ = io.Copy(io.Discard, conn)
			})
			got := checkOnce(t, &SMTP{Addr: somewhere, Dial: smuggler.dial, Security: StartTLS})
			if want := "tls: 14 bytes in the clear before the handshake"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	})
}
