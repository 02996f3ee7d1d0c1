package health

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// The CHALLENGE_MESSAGE of MS-NLMP section 4.2.4.3, without the key exchange that its client
// asks for, and what NTOWFv2 makes of its user
// "User", password "Password" and domain "Domain" (section 4.2.4.1.1).
var (
	ntlmChallenge = base64.StdEncoding.EncodeToString(fromHex("4e544c4d53535000020000000c000c003800000033828aa20123456789abcdef0000000000000000" +
		"2400240044000000060070170000000f53006500720076006500720002000c0044006f006d00610069006e0001000c0053006500720076006500720000000000"))
	ntlmServerChallenge = fromHex("0123456789abcdef")
	ntlmKey             = fromHex("0c868a403bfd7a93a3001ef22ef02e3f")
)

func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// ntlmProves reports whether an AUTHENTICATE_MESSAGE has the proof of who knows the
// password (MS-NLMP section 3.3.2).
func ntlmProves(message []byte) bool {
	if len(message) < 64 || !bytes.HasPrefix(message, []byte("NTLMSSP\x00\x03")) {
		return false
	}
	n, at := int(binary.LittleEndian.Uint16(message[20:])), int(binary.LittleEndian.Uint32(message[24:]))
	if n < 16 || at+n > len(message) {
		return false
	}
	response := message[at : at+n]
	mac := hmac.New(md5.New, ntlmKey)
	mac.Write(ntlmServerChallenge)
	mac.Write(response[16:])
	return hmac.Equal(mac.Sum(nil), response[:16])
}

// ntlmServer is a web server that wants NTLM, and counts requests by path.
func ntlmServer(asked *[]string) server {
	return func(conn net.Conn) {
		in, loggedIn := bufio.NewReader(conn), false
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			text, _ := strings.CutPrefix(req.Header.Get("Authorization"), "NTLM ")
			message, _ := base64.StdEncoding.DecodeString(text)
			*asked = append(*asked, req.URL.Path)
			switch {
			case loggedIn || ntlmProves(message):
				loggedIn = true
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome")
			case bytes.HasPrefix(message, []byte("NTLMSSP\x00\x01")):
				fmt.Fprintf(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM %s\r\nContent-Length: 3\r\n\r\nwho", ntlmChallenge)
			default:
				fmt.Fprintf(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
			}
		}
	}
}

func TestHTTPLogin(t *testing.T) {
	basic := func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		status := "401 Unauthorized"
		if user, password, ok := req.BasicAuth(); ok && user == "bob" && password == "hello" {
			status = "200 OK"
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
	}
	var asked []string
	tests := []struct {
		name   string
		serve  server
		params map[string]any
		want   string
	}{
		{"basic", basic, map[string]any{"login": "bob", "password": "hello"}, ""},
		{"basic, wrong", basic, map[string]any{"login": "bob", "password": "guess"}, "GET /: got 401 Unauthorized, want 200-299"},
		{"NTLM", ntlmServer(&asked), map[string]any{"auth": "ntlm", "login": "User", "domain": "Domain", "password": "Password", "contains": "welcome"}, ""},
		{"NTLM, and on", ntlmServer(&asked), map[string]any{"auth": "ntlm", "login": `Domain\User`, "password": "Password", "next": "/b 200 welcome"}, ""},
		{"NTLM, wrong", ntlmServer(&asked), map[string]any{"auth": "ntlm", "login": "User", "domain": "Domain", "password": "guess"}, "GET /: got 401 Unauthorized, want 200-299"},
		{"NTLM, not there", basic, map[string]any{"auth": "ntlm", "login": "User", "password": "x"}, `GET /: no challenge of NTLM: server offers "Basic"`},
		{"NTLM, not wanted", dialogue(t, "> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 0", "< "), map[string]any{"auth": "ntlm", "login": "User", "password": "x"}, ""},
		{"NTLM, no challenge", dialogue(t, "> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 401 No", "< WWW-Authenticate: NTLM TlRMTVNTUAA=", "< Content-Length: 0", "< "), map[string]any{"auth": "ntlm", "login": "User", "password": "x"}, "GET /: ntlm: challenge: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c, err := NewRegistry(HTTPType()).New("http", Peer{Addr: somewhere, Dial: tt.serve.dial}, tt.params)
				if err != nil {
					t.Fatal(err)
				}
				if got := checkOnce(t, c); got != tt.want && (tt.want == "" || !strings.HasPrefix(got, tt.want)) {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
	if got := fmt.Sprint(asked); got != "[/ / / / /b / /]" {
		t.Errorf("asked for %s", got)
	}
}

func TestHTTPRequestsOnOneConnection(t *testing.T) {
	const ok, keep = "< HTTP/1.1 200 OK", "< Content-Length: 2"
	tests := []struct {
		name  string
		next  []any
		serve []string // after the first request
		want  string
	}{
		{"two", []any{"/b"}, []string{ok, keep, "< ", `< hi\`, "> GET /b HTTP/1.1", "> ...", "> ...", "> Connection: close", "> ", ok, keep, "< ", `< hi\`}, ""},
		{"method, status and body", []any{"POST /login 302", "/in 200 ^hi there"}, []string{ok, keep, "< ", `< hi\`,
			"> POST /login HTTP/1.1", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 302 Found", "< Content-Length: 0", "< ",
			"> GET /in HTTP/1.1", "> ...", "> ...", "> ...", "> ", ok, "< Transfer-Encoding: chunked", "< ", "< 8", "< hi there", "< 0", "< "}, ""},
		{"second fails", []any{"/b 204"}, []string{ok, keep, "< ", `< hi\`, "> ...", "> ...", "> ...", "> ...", "> ", ok, keep, "< ", `< hi\`}, "GET /b: got 200 OK, want 204"},
		{"server closes", []any{"/b"}, []string{ok, keep, "< Connection: close", "< ", `< hi\`}, "GET /: server closes the connection, want it open for the next request"},
		{"server is gone", []any{"/b"}, []string{ok, keep, "< ", `< hi\`, "> ...", "> ...", "> ...", "> ...", "> "}, "GET /b: connection closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := server(func(conn net.Conn) {
					dialogueOn(t, conn, append([]string{"> GET / HTTP/1.1", "> ...", "> ...", "> "}, tt.serve...))
				})
				_, c, err := NewRegistry(HTTPType()).New("http", Peer{Addr: somewhere, Dial: serve.dial}, map[string]any{"next": tt.next})
				if err != nil {
					t.Fatal(err)
				}
				if got := checkOnce(t, c); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
	for text, want := range map[string]string{"b": "not allowed", "DELETE /b": "not allowed", "/b 99": "not allowed", "/b 200 (": "missing closing )", "HEAD /b 200 x": "no body", "": "not allowed"} {
		_, _, err := NewRegistry(HTTPType()).New("http", Peer{Addr: somewhere}, map[string]any{"next": text})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for _, more := range []map[string]any{{"http2": true, "next": "/b"}, {"http2": true, "auth": "ntlm", "login": "x"}, {"auth": "ntlm"}, {"domain": "x", "login": "y"}} {
		if _, _, err := NewRegistry(HTTPType()).New("http", Peer{Addr: somewhere}, more); err == nil {
			t.Errorf("%v: no mistake", more)
		}
	}
}
