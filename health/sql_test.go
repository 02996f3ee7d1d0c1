package health

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pgMessage is a message of a PostgreSQL server.
func pgMessage(kind byte, payload string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(payload)))) + payload
}

func pgAuth(method byte, data string) string {
	return pgMessage('R', "\x00\x00\x00"+string(method)+data)
}

// pgServer plays a PostgreSQL server: after the startup message, each element is
// sent in turn, and between two of them one message of the client is read and must
// contain the text of the other slice.
func pgServer(t *testing.T, gets []string, sends ...string) server {
	return func(conn net.Conn) {
		head := make([]byte, 4)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))-4)
		for i, out := range sends {
			if i > 0 {
				head := make([]byte, 5)
				if _, err := io.ReadFull(conn, head); err != nil {
					return
				}
				m := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
				_, _ = io.ReadFull(conn, m)
				if got := string(head[:1]) + string(m); i <= len(gets) && !strings.Contains(got, gets[i-1]) {
					t.Errorf("message %d: client sent %q, want %q", i, got, gets[i-1])
				}
			}
			if _, err := io.WriteString(conn, out); err != nil {
				return
			}
		}
		keepOpen(conn)
	}
}

func TestPgSQL(t *testing.T) {
	login := PgSQL{Login: "bob", Password: "hello"}
	query := login
	query.Query = "select 1"
	ready := pgMessage('S', "a\x00b\x00") + pgMessage('K', "12345678") + pgMessage('Z', "I")
	ok := pgAuth(0, "") + ready
	errorMessage := pgMessage('E', "SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00")
	tests := []struct {
		name  string
		check PgSQL
		serve server
		want  string
	}{
		{"requests a password", PgSQL{}, pgServer(t, nil, pgAuth(10, "SCRAM-SHA-256\x00\x00")), ""},
		{"does not know us", PgSQL{}, pgServer(t, nil, pgMessage('E', "C28000\x00Mno entry\x00\x00")), ""},
		{"starting", PgSQL{}, pgServer(t, nil, errorMessage), `login: got error 57P03 "the database system is starting up"`},
		{"trust", login, pgServer(t, nil, ok), ""},
		{"password", login, pgServer(t, []string{"phello\x00"}, pgAuth(3, ""), ok), ""},
		{"MD5", login, pgServer(t, []string{"pmd5be157ad368d0dc6d47d8d6424846af41\x00"}, pgAuth(5, "salt"), ok), ""},
		{"wrong password", login, pgServer(t, nil, pgAuth(3, ""), pgMessage('E', "C28P01\x00Mno\x00\x00")), `login: got error 28P01 "no"`},
		{"Kerberos", login, pgServer(t, nil, pgAuth(7, "")), "login: got authentication method 7, want password, MD5 or SCRAM-SHA-256"},
		{"row", query, pgServer(t, []string{"Qselect 1\x00"}, ok, pgMessage('T', "x")+pgMessage('D', "1")+pgMessage('C', "")+pgMessage('Z', "I")), ""},
		{"no row", query, pgServer(t, nil, ok, pgMessage('T', "x")+pgMessage('C', "")+pgMessage('Z', "I")), "query: got no row, want one"},
		{"bad query", query, pgServer(t, nil, ok, pgMessage('E', "C42601\x00Msyntax error\x00\x00")), `query: got error 42601 "syntax error"`},
		{"silence after the query", query, pgServer(t, nil, ok, ""), "query: no answer in time"},
		{"endless messages", login, pgServer(t, nil, strings.Repeat(pgMessage('N', ""), 2000)), "login: more than 1000 messages"},
		{"message too long", login, pgServer(t, nil, "R\x7f\xff\xff\xff"), `login: got "R\x7f\xff\xff\xff", want a PostgreSQL message`},
		{"no TLS", PgSQL{TLS: true}, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 8))
			_, _ = io.WriteString(conn, "N")
			keepOpen(conn)
		}, `SSLRequest: got "N", want "S"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.check.Addr, tt.check.Dial = somewhere, tt.serve.dial
				if got := checkOnce(t, &tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func TestSQLAgainstHostileServers(t *testing.T) {
	t.Run("pgsql", func(t *testing.T) {
		testHostile(t, func(d DialFunc) Checker { return &PgSQL{Addr: somewhere, Dial: d} }, pgServer(t, nil, pgAuth(3, "")), hostile{
			silent:  "login: no answer in time",
			closes:  "login: connection closed",
			drips:   `login: no answer in time after "R\x00"`,
			endless: `login: got "` + strings.Repeat("x", 80) + `"..., want a PostgreSQL message`,
		})
	})
	t.Run("mysql", func(t *testing.T) {
		testHostile(t, func(d DialFunc) Checker { return &MySQL{Addr: somewhere, Dial: d} }, mysqlServer(t, nil, mysqlHello(mysqlNative)), hostile{
			silent:  "greeting: no answer in time",
			closes:  "greeting: connection closed",
			drips:   `greeting: no answer in time after "I\x00"`,
			endless: `greeting: got "` + strings.Repeat("x", 80) + `"..., want a MySQL packet`,
		})
	})
}

func TestPgSQLOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, _ := certificate(t, time.Hour)
		inner := pgServer(t, nil, pgAuth(3, ""))
		serve := server(func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 8))
			_, _ = io.WriteString(conn, "S")
			inner.behindTLS(&tls.Config{Certificates: []tls.Certificate{cert}})(conn)
		})
		if got := checkOnce(t, &PgSQL{Addr: somewhere, Dial: serve.dial, TLS: true}); got != "" {
			t.Error(got)
		}
	})
}

// RFC 7677 section 3.
func TestSCRAMOfTheRFC(t *testing.T) {
	s := &scram{name: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
	final, err := s.final("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	if err != nil {
		t.Fatal(err)
	}
	if want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="; final != want {
		t.Errorf("got  %s\nwant %s", final, want)
	}
	if err := s.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "v=", "v=AAAA", "e=other-error"} {
		if s.verify(bad) == nil {
			t.Errorf("%q: verified", bad)
		}
	}
	for _, bad := range []string{"", "r=other,s=AAAA,i=1", "r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1", "r=rOprNGfwEbeRWgbNEkqOx,s=*,i=1", "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=2000000000", "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=0"} {
		if _, err := s.final(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

// mysqlPacket is a packet of a MySQL server.
func mysqlPacket(seq int, payload string) string {
	return string([]byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), byte(seq)}) + payload
}

const mysqlSalt = "abcdefgh0123456789kl"

// mysqlHello is a greeting whose salt is mysqlSalt.
func mysqlHello(plugin string) string {
	return mysqlPacket(0, "\x0a8.0.1\x00\x01\x00\x00\x00"+mysqlSalt[:8]+"\x00\xff\xff\x21\x02\x00\xff\xff\x15"+strings.Repeat("\x00", 10)+mysqlSalt[8:]+"\x00"+plugin+"\x00")
}

// mysqlServer plays a MySQL server: it sends each element in turn, and between two
// of them reads one packet of the client, for which it calls got.
func mysqlServer(t *testing.T, got func(i int, packet []byte), sends ...string) server {
	return func(conn net.Conn) {
		for i, out := range sends {
			if i > 0 {
				head := make([]byte, 4)
				if _, err := io.ReadFull(conn, head); err != nil {
					return
				}
				p := make([]byte, int(head[0])|int(head[1])<<8)
				_, _ = io.ReadFull(conn, p)
				if got != nil {
					got(i, p)
				}
			}
			if _, err := io.WriteString(conn, out); err != nil {
				return
			}
		}
		keepOpen(conn)
	}
}

func TestMySQL(t *testing.T) {
	login := MySQL{Login: "bob", Password: "hello"}
	query := login
	query.Query = "select 1"
	ok := func(seq int) string { return mysqlPacket(seq, "\x00\x00\x00\x02\x00\x00\x00") }
	eof := func(seq int) string { return mysqlPacket(seq, "\xfe\x00\x00\x02\x00") }
	fail := func(seq int) string { return mysqlPacket(seq, "\xff\x15\x04#28000Access denied") }
	proves := func(plugin string) func(int, []byte) {
		return func(i int, p []byte) {
			want, _ := mysqlProof(plugin, "hello", []byte(mysqlSalt))
			if i == 1 && !bytes.Contains(p, append([]byte("bob\x00"+string(rune(len(want)))), want...)) {
				t.Errorf("login %q", p)
			}
		}
	}
	switched := func(i int, p []byte) {
		want, _ := mysqlProof(mysqlNative, "hello", []byte(mysqlSalt))
		if i == 2 && !bytes.Equal(p, want) {
			t.Errorf("answer to the switch %q, want %q", p, want)
		}
	}
	columns := mysqlPacket(1, "\x01") + mysqlPacket(2, "def") + eof(3)
	tests := []struct {
		name  string
		check MySQL
		serve server
		want  string
	}{
		{"greeting", MySQL{}, mysqlServer(t, nil, mysqlHello(mysqlNative)), ""},
		{"too many connections", MySQL{}, mysqlServer(t, nil, mysqlPacket(0, "\xff\x10\x04Too many connections")), `greeting: got error 1040 "Too many connections"`},
		{"short greeting", MySQL{}, mysqlServer(t, nil, mysqlPacket(0, "\x0a8\x00abcd")), `greeting: got "\n8\x00abcd", want a MySQL handshake, version 10`},
		{"native password", login, mysqlServer(t, proves(mysqlNative), mysqlHello(mysqlNative), ok(2)), ""},
		{"SHA-2 that the server has cached", login, mysqlServer(t, proves(mysqlSHA2), mysqlHello(mysqlSHA2), mysqlPacket(2, "\x01\x03")+ok(3)), ""},
		{"switch of method", login, mysqlServer(t, switched, mysqlHello("sha256_password"), mysqlPacket(2, "\xfe"+mysqlNative+"\x00"+mysqlSalt+"\x00"), ok(4)), ""},
		{"switch to a method we do not have", login, mysqlServer(t, nil, mysqlHello(mysqlNative), mysqlPacket(2, "\xfemysql_clear_password\x00")),
			`login: server requests method "mysql_clear_password", want mysql_native_password or caching_sha2_password`},
		{"wrong password", login, mysqlServer(t, nil, mysqlHello(mysqlNative), fail(2)), `login: got error 1045 "Access denied"`},
		{"row", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), columns+mysqlPacket(4, "\x011")), ""},
		{"no row", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), columns+eof(4)), "query: got no row, want one"},
		{"no rows at all", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), ok(1)), "query: got no row, want one"},
		{"large row", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), columns+"\xff\xff\xff\x04\xfd"), ""},
		{"requests a file of this host", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), mysqlPacket(1, "\xfb/etc/passwd")), "query: server requests a file of this host"},
		{"endless columns", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), endlessColumns()), "query: more than 256 KiB"},
		{"silence after the query", query, mysqlServer(t, nil, mysqlHello(mysqlNative), ok(2), ""), "query: no answer in time"},
		{"packet too long", MySQL{}, mysqlServer(t, nil, "\xff\xff\xff\x00"), `greeting: got "\xff\xff\xff\x00", want a MySQL packet`},
		{"no TLS", MySQL{Login: "bob", TLS: true}, mysqlServer(t, nil, strings.Replace(mysqlHello(mysqlNative), "\x00\xff\xff\x21", "\x00\xff\xf7\x21", 1)), "tls: server does not offer it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.check.Addr, tt.check.Dial = somewhere, tt.serve.dial
				if got := checkOnce(t, &tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func endlessColumns() string {
	var b strings.Builder
	b.WriteString(mysqlPacket(1, "\x01"))
	for i := range 1000 {
		b.WriteString(mysqlPacket(2+i, strings.Repeat("x", 1000)))
	}
	return b.String()
}

func TestMySQLFullPassword(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	got := ""
	opens := func(i int, p []byte) {
		if i != 3 {
			return
		}
		plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, p, nil)
		if err != nil {
			t.Error(err)
		}
		for i := range plain {
			plain[i] ^= mysqlSalt[i%len(mysqlSalt)]
		}
		got = string(plain)
	}
	tests := []struct{ name, key, want string }{
		{"server's key", public, ""},
		{"no key", "hello", "login: server's public key is not an RSA key of at most 8192 bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := mysqlServer(t, opens, mysqlHello(mysqlSHA2), mysqlPacket(2, "\x01\x04"), mysqlPacket(4, "\x01"+tt.key), mysqlPacket(6, "\x00\x00\x00"))
				c := &MySQL{Addr: somewhere, Login: "bob", Password: "hello", Dial: serve.dial}
				if reason := checkOnce(t, c); reason != tt.want {
					t.Errorf("got  %s\nwant %s", reason, tt.want)
				}
			})
		})
	}
	if got != "hello\x00" {
		t.Errorf("server decrypts %q", got)
	}
}

// A server knows SHA1(SHA1(password)) or SHA256(SHA256(password)), and undoes the
// XOR with it.
func TestMySQLProofs(t *testing.T) {
	proof, err := mysqlProof(mysqlNative, "secret", []byte(mysqlSalt))
	if err != nil {
		t.Fatal(err)
	}
	one := sha1.Sum([]byte("secret"))
	two := sha1.Sum(one[:])
	mask := sha1.Sum([]byte(mysqlSalt + string(two[:])))
	if back := sha1.Sum(xor(proof, mask[:])); back != two {
		t.Errorf("native: %x", proof)
	}
	proof, err = mysqlProof(mysqlSHA2, "secret", []byte(mysqlSalt))
	if err != nil {
		t.Fatal(err)
	}
	a := sha256.Sum256([]byte("secret"))
	b := sha256.Sum256(a[:])
	m := sha256.Sum256([]byte(string(b[:]) + mysqlSalt))
	if back := sha256.Sum256(xor(proof, m[:])); back != b {
		t.Errorf("SHA-2: %x", proof)
	}
	if p, err := mysqlProof(mysqlNative, "", nil); err != nil || p != nil {
		t.Errorf("no password: %x, %v", p, err)
	}
}
