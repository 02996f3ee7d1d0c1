package health

import (
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSimpleTCP(t *testing.T) {
	ready := regexp.MustCompile("^READY [0-9]+\r\n")
	long := strings.Repeat("x", 200)
	testAnswers(t, []answers{
		{"any answer", &SimpleTCP{}, []string{`< x\`}, ""},
		{"match", &SimpleTCP{Send: "status\r\n", Expect: ready}, []string{"> status", "< READY 7"}, ""},
		{"match over several sends", &SimpleTCP{Expect: ready}, []string{`< REA\`, `< DY 1\`, "< 2"}, ""},
		{"other answer, then silence", &SimpleTCP{Expect: regexp.MustCompile("READY")}, []string{"< BUSY"},
			`answer: no answer in time after 6 bytes without a match of "READY", which begin "BUSY\r\n"`},
		{"match and no more, then silence", &SimpleTCP{Expect: regexp.MustCompile("READY")}, []string{`< READY\`, "> ..."}, ""},
		{"match that what follows ends", &SimpleTCP{Expect: regexp.MustCompile(`READY\b`)}, []string{`< READY\`, `< NOT\`, "> ..."},
			`answer: no answer in time after 8 bytes without a match of "READY\\b", which begin "READYNOT"`},
		{"other answer where it is anchored", &SimpleTCP{Expect: ready}, []string{"< BUSY"}, `answer: got "BUSY\r\n", want a match of "^READY [0-9]+\r\n"`},
		{"match beside bytes that are no text", &SimpleTCP{Expect: regexp.MustCompile("OK")}, []string{"< \xff\xfeOK"}, ""},
	}, func(c Checker, d DialFunc) { c.(*SimpleTCP).Dial, c.(*SimpleTCP).Addr = d, somewhere })

	for got, want := range map[string]string{
		"BUSY": `answer: got "BUSY", want a match of "^READY [0-9]+\r\n"`,
		long:   `answer: got "` + long[:80] + `"..., want a match of "^READY [0-9]+\r\n"`,
	} {
		synctest.Test(t, func(t *testing.T) {
			hangsUp := server(func(conn net.Conn) { _, _ = io.WriteString(conn, got) })
			if got := checkOnce(t, &SimpleTCP{Addr: somewhere, Expect: ready, Dial: hangsUp.dial}); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestSimpleTCPAgainstHostileServers(t *testing.T) {
	check := func(d DialFunc) Checker {
		return &SimpleTCP{Addr: somewhere, Dial: d, Expect: regexp.MustCompile("READY")}
	}
	want := hostile{
		silent:  `answer: no answer in time`,
		closes:  `answer: got "", want a match of "READY"`,
		drips:   `answer: no answer in time after 2 bytes without a match of "READY", which begin "RE"`,
		endless: `answer: no match of "READY" in the first 256 KiB, which begin "` + strings.Repeat("x", 80) + `"...`,
		lines:   `answer: no match of "READY" in the first 256 KiB, which begin "` + strings.Repeat(`BUSY\r\n`, 13) + `BU"...`,
		more:    "BUSY\r\n",
	}
	healthy := dialogue(t, "< READY")
	testHostile(t, check, healthy, want)
	cert, _ := certificate(t, time.Hour)
	testHostile(t, func(d DialFunc) Checker {
		return &SimpleTCP{Addr: somewhere, Dial: d, TLS: true, Expect: regexp.MustCompile("READY")}
	}, healthy.behindTLS(&tls.Config{Certificates: []tls.Certificate{cert}}), hostile{silent: "tls: no answer in time"})
}

func TestEscapesOfTextToSend(t *testing.T) {
	for in, want := range map[string]string{
		`PING\r\n`: "PING\r\n", `\x00\xff`: "\x00\xff", `a\\n`: `a\n`, `\t`: "\t",
		`\`: "!", `\q`: "!", `\x1`: "!", `\xgg`: "!",
	} {
		got, err := unescape(in)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
