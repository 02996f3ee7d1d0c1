package health

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const refused = "connect to ADDR: connection refused"

func TestRealRedis(t *testing.T) {
	d := newDaemon(t, "redis-server", "redis-server")
	cert, key := certificateFiles(t, d)
	secure := d.another()
	d.start("redis-server", "--tls-port", fmt.Sprint(secure.Port()), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no", "--port", d.port(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", "s3cret")
	d.live(&Redis{Addr: d.addr, Password: "s3cret"}, "AUTH: no answer in time", refused, map[string]Checker{
		`PING: got "-NOAUTH`:    &Redis{Addr: d.addr},
		`AUTH: got "-WRONGPASS`: &Redis{Addr: d.addr, Password: "guess"},
	}, &Redis{Addr: secure, TLS: true, Password: "s3cret"}, &Redis{Addr: d.addr, Login: "default", Password: "s3cret"},
		&SimpleTCP{Addr: d.addr, Send: "PING\r\n", Expect: mustExpect("^-NOAUTH")}, &SimpleTCP{Addr: secure, TLS: true, Send: "PING\r\n"},
		&TLS{Addr: secure})
}

func TestRealPgSQL(t *testing.T) {
	d := newDaemon(t, "postgresql", "initdb", "postgres")
	d.as("postgres")
	data := filepath.Join(d.dir, "data")
	d.run("initdb", "-D", data, "-U", "bob", "--auth=scram-sha-256", "--no-sync", "--no-locale", "--pwfile="+d.file("password", "hello"))
	cert, key := certificateFiles(t, d)
	d.start("postgres", "-c", "ssl=on", "-c", "ssl_cert_file="+cert, "-c", "ssl_key_file="+key, "-D", data, "-p", d.port(), "-k", d.dir, "-h", "127.0.0.1", "-F")
	query := &PgSQL{Addr: d.addr, Login: "bob", Password: "hello", Database: "postgres", Query: "select 1"}
	none, bad, login, guess, secure, verified := *query, *query, *query, *query, *query, *query
	none.Query, bad.Query, login.Query, guess.Password = "select 1 where false", "selec", "", "guess"
	secure.TLS, verified.TLS, verified.Verify = true, true, true
	d.live(query, "login: no answer in time", refused, map[string]Checker{
		"":                                        &login,
		"query: got no row, want one":             &none,
		`query: got error 42601 "syntax error`:    &bad,
		`login: got error 28P01 "password authe`:  &guess,
		"tls: failed to verify certificate: x509": &verified,
	}, &secure, &PgSQL{Addr: d.addr})
}

func TestRealMySQL(t *testing.T) {
	d := newDaemon(t, "mariadb-server", "mariadb-install-db", "mariadbd")
	d.as("mysql")
	data := filepath.Join(d.dir, "data")
	d.run("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	init := d.file("init.sql", "CREATE USER bob@'%' IDENTIFIED BY 'hello';\n")
	cert, key := certificateFiles(t, d)
	d.start("mariadbd", "--no-defaults", "--ssl-cert="+cert, "--ssl-key="+key, "--datadir="+data, "--port="+d.port(), "--socket="+filepath.Join(d.dir, "sock"), "--bind-address=127.0.0.1", "--init-file="+init, "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0")
	query := &MySQL{Addr: d.addr, Login: "bob", Password: "hello", Query: "select 1"}
	none, bad, guess, login, secure := *query, *query, *query, *query, *query
	secure.TLS = true
	none.Query, bad.Query, guess.Password, login.Query = "select 1 from dual where false", "selec", "guess", ""
	d.live(query, "greeting: no answer in time", refused, map[string]Checker{
		"":                                   &login,
		"query: got no row, want one":        &none,
		`query: got error 1064 "You have`:    &bad,
		`login: got error 1045 "Access deni`: &guess,
	}, &secure, &MySQL{Addr: d.addr})
}

func TestRealLDAP(t *testing.T) {
	d := newDaemon(t, "slapd", "slapd", "slapadd")
	cert, key := certificateFiles(t, d)
	secure := d.another()
	conf := d.file("slapd.conf", "TLSCertificateFile "+cert+"\nTLSCertificateKeyFile "+key+`
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix dc=example
directory DIR
rootdn cn=admin,dc=example
rootpw hello
`)
	d.run("slapadd", "-f", conf, "-l", d.file("entries.ldif", "dn: dc=example\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n"))
	d.start("slapd", "-d", "0", "-f", conf, "-h", "ldap://127.0.0.1:"+d.port()+"/ ldaps://"+secure.String()+"/")
	search := &LDAP{Addr: d.addr, Login: "cn=admin,dc=example", Password: "hello", Base: "dc=example"}
	guess, none, start, implicit, verified := *search, *search, *search, *search, *search
	guess.Password, none.Base = "guess", "dc=none,dc=example"
	start.Security, implicit.Security, implicit.Addr, verified.Security, verified.Verify = StartTLS, Implicit, secure, StartTLS, true
	d.live(search, "bind: no answer in time", refused, map[string]Checker{
		`bind: got result 49 invalidCredentials`: &guess,
		`search: got result 32 noSuchObject`:     &none,
		"":                                       &LDAP{Addr: d.addr, Root: true},
		"tls: failed to verify certificate: x509": &verified,
	}, &start, &implicit)
}

func TestRealDNS(t *testing.T) {
	d := newDaemon(t, "dnsmasq-base", "dnsmasq")
	args := []string{"-k", "-C", "/dev/null", "-p", d.port(), "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=", "--host-record=www.example,192.0.2.7,2001:db8::7", "--local=/example/"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	d.start("dnsmasq", args...)
	name := func(c DNS) Checker { c.Addr = d.addr; return &c }
	expect := mustExpect
	d.live(name(DNS{Name: "www.example", Expect: expect(`^192\.0\.2\.7$`)}), "A www.example.: no answer in time", "A www.example.: ICMP port unreachable: nobody listens there", map[string]Checker{
		"":                       name(DNS{Name: "www.example", Type: dnsTypes()["AAAA"], TCP: true, Expect: expect("^2001:db8::7$")}),
		"A none.example.: got N": name(DNS{Name: "none.example"}),
		"SOA .: got REFUSED":     name(DNS{}),
		"PTR 7.2.0.192":          name(DNS{Name: "192.0.2.7", Expect: expect("^wwx")}),
	}, name(DNS{Name: "192.0.2.7", Expect: expect("^www")}), name(DNS{Name: "none.example", AnyRCode: true}), name(DNS{AnyRCode: true, TCP: true}),
		&UDP{Addr: d.addr}, &UDP{Addr: d.addr, Send: "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01", Expect: expect("^\\x00\\x07")})
}

func TestRealSIP(t *testing.T) {
	d := newDaemon(t, "kamailio", "kamailio")
	conf := d.file("kamailio.cfg", `children=1
disable_tcp=no
tcp_children=1
listen=udp:127.0.0.1:PORT
listen=tcp:127.0.0.1:PORT
loadmodule "sl.so"
loadmodule "pv.so"
request_route {
	if ($rU == "busy") { sl_send_reply("486", "Busy Here"); exit; }
	sl_send_reply("200", "OK");
}
`)
	d.start("kamailio", "-f", conf, "-DD", "-E", "-Y", d.dir, "-m", "16", "-M", "4")
	udp := &SIP{Addr: d.addr}
	d.live(&SIP{Addr: d.addr, TCP: true}, "OPTIONS: no answer in time", refused, map[string]Checker{
		`OPTIONS: got "486 Busy Here", want 200-299`: &SIP{Addr: d.addr, User: "busy"},
	}, udp, &SIP{Addr: d.addr, User: "busy", Status: StatusSet{{486, 486}}})
	d.becomes("UDP, killed", udp, "OPTIONS: ICMP port unreachable: nobody listens there")
}

func TestRealRADIUS(t *testing.T) {
	d := newDaemon(t, "freeradius", "freeradius")
	d.file("users", "bob Cleartext-Password := \"hello\"\n")
	d.file("radiusd.conf", `libdir = /usr/lib/freeradius
logdir = DIR
run_dir = DIR
security {
	reject_delay = 0
}
client localhost {
	ipaddr = 127.0.0.1
	secret = testing123
}
modules {
	pap {
	}
	files {
		filename = DIR/users
	}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = PORT
	}
	authorize {
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
	}
}
`)
	d.start("freeradius", "-f", "-l", "stdout", "-d", d.dir)
	radius := func(password, secret string) Checker {
		return &RADIUS{Addr: d.addr, Login: "bob", Password: password, Secret: secret}
	}
	d.await(radius("hello", "testing123"))
	silent := "Access-Request: no answer in time: the server is down, or does not know this host or its secret"
	if got := d.check(radius("hello", "guess"), 300*time.Millisecond); got != silent {
		t.Errorf("another secret: got %s, want %s", got, silent)
	}
	d.live(radius("hello", "testing123"), silent, "Access-Request: ICMP port unreachable: nobody listens there", map[string]Checker{
		"Access-Request: got Access-Reject (3), want Access-Accept": radius("guess", "testing123"),
	})
}

func TestRealFTP(t *testing.T) {
	d := newDaemon(t, "vsftpd", "vsftpd")
	d.needRoot()
	root := filepath.Join(d.dir, "files")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.file("files/check.txt", "all is OK\n")
	cert, key := certificateFiles(t, d)
	conf := d.file("vsftpd.conf", "ssl_enable=YES\nallow_anon_ssl=YES\nforce_local_logins_ssl=NO\nforce_local_data_ssl=NO\nrequire_ssl_reuse=NO\nrsa_cert_file="+cert+"\nrsa_private_key_file="+key+"\nlisten=YES\nlisten_address=127.0.0.1\nlisten_port=PORT\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root="+root+"\nsecure_chroot_dir=DIR\nseccomp_sandbox=NO\n")
	d.start("vsftpd", conf)
	d.live(&FTP{Addr: d.addr, Path: "check.txt", Expect: mustExpect("OK")}, "greeting: no answer in time", refused, map[string]Checker{
		"":                         &FTP{Addr: d.addr},
		`file check.txt: got "all`: &FTP{Addr: d.addr, Path: "check.txt", Expect: mustExpect("KO")},
		`RETR: got "550`:           &FTP{Addr: d.addr, Path: "none.txt"},
		`USER: got "530`:           &FTP{Addr: d.addr, Login: "bob", Password: "x"},
		"tls: failed to verify":    &FTP{Addr: d.addr, Security: StartTLS, TLSOptions: TLSOptions{Verify: true}},
	}, &FTP{Addr: d.addr, Security: StartTLS, Path: "check.txt", Expect: mustExpect("OK")})
}

func TestRealMailboxes(t *testing.T) {
	d := newDaemon(t, "dovecot-imapd", "dovecot")
	d.needRoot()
	if _, err := os.Stat("/usr/lib/dovecot/pop3-login"); err != nil {
		t.Skip("pop3-login is not installed (Debian package dovecot-pop3d)")
	}
	cert, key := certificateFiles(t, d)
	pop, pops, imaps := d.another(), d.another(), d.another()
	conf := d.file("dovecot.conf", fmt.Sprintf(`protocols = imap pop3
base_dir = DIR/run
log_path = /dev/stderr
ssl = yes
ssl_cert = <%s
ssl_key = <%s
disable_plaintext_auth = no
auth_failure_delay = 0
passdb {
  driver = static
  args = password=hello
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=DIR/home
}
mail_location = mbox:DIR/home
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = PORT
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = %d
  }
}
service pop3-login {
  inet_listener pop3 {
    address = 127.0.0.1
    port = %d
  }
  inet_listener pop3s {
    address = 127.0.0.1
    port = %d
  }
}
`, cert, key, imaps.Port(), pop.Port(), pops.Port()))
	d.start("dovecot", "-F", "-c", conf)
	d.live(&IMAP{Addr: d.addr}, "greeting: no answer in time", refused, map[string]Checker{
		"":                  &IMAP{Addr: d.addr, Login: "bob", Password: "hello", Security: StartTLS},
		`LOGIN: got "a1 NO`: &IMAP{Addr: imaps, Login: "bob", Password: "guess", Security: Implicit},
		`PASS: got "-ERR`:   &POP3{Addr: pop, Login: "bob", Password: "guess"},
		`tls: failed to verify certificate: x509`: &POP3{Addr: pop, Security: StartTLS, TLSOptions: TLSOptions{Verify: true}},
		"tls: got \"* OK":                         &IMAP{Addr: d.addr, Security: Implicit},
	}, &IMAP{Addr: imaps, Login: "bob", Password: "hello", Security: Implicit}, &POP3{Addr: pop}, &POP3{Addr: pop, Login: "bob", Password: "hello", Security: StartTLS},
		&POP3{Addr: pops, Login: "bob", Password: "hello", Security: Implicit})
}

func TestRealSMTP(t *testing.T) {
	d := newDaemon(t, "python3-aiosmtpd", "aiosmtpd")
	cert, key := certificateFiles(t, d)
	plain := newDaemon(t, "python3-aiosmtpd", "aiosmtpd")
	plain.start("aiosmtpd", "-n", "-l", "127.0.0.1:"+plain.port())
	d.start("aiosmtpd", "-n", "--tlscert", cert, "--tlskey", key, "--no-requiretls", "-l", "127.0.0.1:"+d.port())
	plain.await(&SMTP{Addr: plain.addr})
	d.live(&SMTP{Addr: d.addr}, "greeting: no answer in time", refused, map[string]Checker{
		`STARTTLS: got "454`: &SMTP{Addr: plain.addr, Security: StartTLS},
		`AUTH: got "5`:       &SMTP{Addr: d.addr, Login: "bob", Password: "x"},
		"tls: got \"220 ":    &SMTP{Addr: d.addr, Security: Implicit},
	}, &SMTP{Addr: d.addr, Security: StartTLS})
}

func TestRealNNTP(t *testing.T) {
	// leafnode serves on its standard input, and only where the host's name is a full one.
	// Where the input is a socket, it looks up its client in the DNS first. socat loses its
	// last output if it ends at once.
	serve := func(hostname string) *daemon {
		d := newDaemon(t, "leafnode, socat, util-linux", "leafnode", "socat", "unshare")
		d.needRoot()
		d.start("unshare", "--uts", "sh", "-c", "hostname "+hostname+" && exec socat TCP-LISTEN:"+d.port()+",bind=127.0.0.1,reuseaddr,fork 'SYSTEM:"+program("leafnode")+"; sleep 10,pipes'")
		return d
	}
	unfit, d := serve("localhost"), serve("news.golb-test.org")
	unfit.await(&TCP{Addr: unfit.addr})
	d.live(&NNTP{Addr: d.addr}, "greeting: no answer in time", refused, map[string]Checker{
		`greeting: got "503 Leafnode must have a`: &NNTP{Addr: unfit.addr},
	})
}

func TestRealHTTP(t *testing.T) {
	d := newDaemon(t, "nginx-light", "nginx")
	secure, locked := d.another(), d.another()
	cert, key := certificateFiles(t, d)
	ours, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	who := ""
	if os.Geteuid() == 0 {
		who = "user root;"
	}
	conf := d.file("nginx.conf", fmt.Sprintf(`daemon off; pid DIR/pid; error_log stderr; %[1]s
events {}
http {
	access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
	ssl_certificate %[3]s; ssl_certificate_key %[4]s;
	server {
		listen 127.0.0.1:%[5]d ssl;
		ssl_verify_client on; ssl_client_certificate %[3]s;
		location / { return 200 "none"; }
	}
	server {
		listen 127.0.0.1:%[5]d ssl; server_name other.example;
		ssl_verify_client on; ssl_client_certificate %[3]s;
		location / { return 200 $ssl_server_name; }
	}
	server {
		listen 127.0.0.1:PORT; listen 127.0.0.1:%[2]d ssl http2;
		location / { return 200 "all is OK\n"; }
		location /broken { return 503; }
		location /moved { return 301 http://192.0.2.1/; }
	}
}
`, who, secure.Port(), cert, key, locked.Port()))
	d.start("nginx", "-c", conf, "-p", d.dir)
	d.live(&HTTP{Addr: d.addr, Path: "/check.txt", Expect: mustExpect("OK")}, "GET /check.txt: no answer in time", refused, map[string]Checker{
		"": &HTTP{Addr: secure, TLS: true, HTTP2: true, Expect: mustExpect("OK")},
		"GET /broken: got 503 Service Temporarily Unavailable, want 200-299":  &HTTP{Addr: d.addr, Path: "/broken"},
		`GET /moved: got 301 Moved Permanently to "http://192.0.2.1/", want `: &HTTP{Addr: secure, TLS: true, Path: "/moved"},
		"GET /: got 400 Bad Request":                                          &HTTP{Addr: secure},
		"tls: failed to verify certificate: x509":                             &HTTP{Addr: secure, TLS: true, TLSOptions: TLSOptions{Verify: true}},
		"tls: certificate expires ":                                           &TLS{Addr: secure, MinValid: 30 * 24 * time.Hour},
		`GET /: got "all is OK\n", want a match of "KO"`:                      &HTTP{Addr: secure, TLS: true, HTTP2: true, Expect: mustExpect("KO")},
		"GET /: got 400 Bad Request, want 200-299":                            &HTTP{Addr: locked, TLS: true},
		`GET /: got "none", want a match of "^other.example$"`:                &HTTP{Addr: locked, TLS: true, TLSOptions: TLSOptions{Certificates: []tls.Certificate{ours}}, Expect: mustExpect("^other.example$")},
		"tls: server takes none of imap":                                      &TLS{Addr: locked, ALPN: []string{"imap"}},
	}, &HTTP{Addr: locked, TLS: true, Host: "other.example", Expect: mustExpect("^other.example$"), TLSOptions: TLSOptions{ServerName: "other.example", Certificates: []tls.Certificate{ours}}},
		&HTTP{Addr: secure, TLS: true, Method: "HEAD"}, &HTTP{Addr: d.addr, Path: "/broken", Status: StatusSet{{503, 503}}},
		&TLS{Addr: secure, ALPN: []string{"h2"}}, &SYN{Addr: d.addr}, &TCP{Addr: d.addr, Reset: true})
}

func TestRealHTTPProxy(t *testing.T) {
	d := newDaemon(t, "tinyproxy", "tinyproxy")
	conf := d.file("tinyproxy.conf", "Port PORT\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nLogLevel Error\nPidFile \"DIR/pid\"\n")
	origin := page(t, "all is OK")
	safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is OK") }))
	t.Cleanup(safe.Close)
	secure, err := url.Parse(safe.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	none := page(t, "")
	none.Host = "127.0.0.1:1"
	d.start("tinyproxy", "-d", "-c", conf)
	d.live(&HTTPProxy{Addr: d.addr, URL: origin, Expect: mustExpect("OK")}, "GET /: no answer in time", refused, map[string]Checker{
		`GET /: got "all is OK", want a match of "KO"`: &HTTPProxy{Addr: d.addr, URL: origin, Expect: mustExpect("KO")},
		"GET /: got 500 ": &HTTPProxy{Addr: d.addr, URL: none},
	}, &HTTPProxy{Addr: d.addr, URL: secure, Expect: mustExpect("OK")})
}

func TestRealGRPC(t *testing.T) {
	d := newDaemon(t, "python3-grpcio", "/usr/bin/python3")
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc").Run(); err != nil {
		t.Skip("python's grpc is not installed (Debian package python3-grpcio)")
	}
	// The health service of the gRPC library itself, its messages as bytes.
	script := d.file("server.py", `import grpc, concurrent.futures
answers = {b"": b"\x08\x01", b"\x0a\x03web": b"\x08\x01", b"\x0a\x03old": b"\x08\x02"}
def check(request, context):
    if request not in answers:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return answers[request]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health",
    {"Check": grpc.unary_unary_rpc_method_handler(check, None, None)}),))
server.add_insecure_port("127.0.0.1:PORT")
server.start()
server.wait_for_termination()
`)
	d.start("/usr/bin/python3", script)
	d.live(&GRPC{Addr: d.addr, Service: "web"}, "POST /grpc.health.v1.Health/Check: no answer in time", refused, map[string]Checker{
		"grpc: got NOT_SERVING, want SERVING":                      &GRPC{Addr: d.addr, Service: "old"},
		`grpc: got status "5" NOT_FOUND "unknown service", want 0`: &GRPC{Addr: d.addr, Service: "none"},
		"tls: got ": &GRPC{Addr: d.addr, TLS: true},
	})
}
