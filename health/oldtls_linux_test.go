package health

import (
	"strings"
	"testing"
)

// OpenSSL servers as old as OpenSSL still makes them. Those that crypto/tls can talk to
// are asked for a page; of the others the ServerHello is all there is.
func TestRealOldTLS(t *testing.T) {
	const (
		whole = "" // what remark to expect: none
		hello = "TLS handshake not finished: server chose "
	)
	tests := []struct {
		name   string
		remark string
		args   string
	}{
		{"RSA key exchange, CBC", whole, "-tls1_2 -cipher AES128-SHA:AES256-SHA:@SECLEVEL=0"},
		{"RSA key exchange, GCM", whole, "-tls1_2 -cipher AES128-GCM-SHA256:@SECLEVEL=0"},
		{"TLS 1.0, RSA key exchange", whole, "-tls1 -cipher AES128-SHA:@SECLEVEL=0"},
		{"TLS 1.1, ECDHE", whole, "-tls1_1 -cipher ECDHE-RSA-AES128-SHA:@SECLEVEL=0"},
		{"ECDHE, CBC with SHA-256", whole, "-tls1_2 -cipher ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:@SECLEVEL=0"},
		{"ECDHE, CBC with SHA-384", hello + "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "-tls1_2 -cipher ECDHE-RSA-AES256-SHA384:@SECLEVEL=0"},
		{"DHE", hello + "TLS 1.2, TLS_DHE_RSA_WITH_AES_", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA:@SECLEVEL=0"},
		{"no certificate", hello + "TLS 1.2, TLS_DH_anon_WITH_AES_", "-nocert -tls1_2 -cipher aNULL:@SECLEVEL=0"},
		{"SHA-1 signatures", hello + "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_", "-tls1_2 -sigalgs RSA+SHA1 -cipher ALL:@SECLEVEL=0"},
		{"negative serial number", hello + "TLS 1.3, TLS_AES_", "-cert DIR/negative.pem"},
		{"key of 512 bits", hello + "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_", "-tls1_2 -cert DIR/small.pem -cipher ALL:@SECLEVEL=0"},
		{"signed with MD5", hello + "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_", "-tls1_2 -cert DIR/md5.pem -cipher ALL:@SECLEVEL=0"},
	}
	made := newDaemon(t, "openssl", "openssl")
	for name, args := range map[string]string{"usual": "rsa:2048", "negative": "rsa:2048 -set_serial -5", "small": "rsa:512", "md5": "rsa:2048 -md5"} {
		file := made.dir + "/" + name + ".pem"
		made.run("openssl", strings.Fields("req -x509 -nodes -days 10 -subj /CN=www.example -keyout "+file+" -out "+file+".crt -newkey "+args)...)
		made.run("sh", "-c", "cat "+file+".crt >>"+file)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t, "openssl", "openssl")
			args := strings.Fields(strings.ReplaceAll(tt.args, "DIR", made.dir))
			if !strings.Contains(tt.args, "cert") {
				args = append(args, "-cert", made.dir+"/usual.pem")
			}
			d.start("openssl", append([]string{"s_server", "-quiet", "-www", "-accept", d.addr.String()}, args...)...)
			check := &HTTP{Addr: d.addr, TLS: true}
			var r remark
			d.await(keepingRemark(check, &r))
			if got := r.get(); !strings.HasPrefix(got, tt.remark) || (got == "") != (tt.remark == "") {
				t.Errorf("remark %q, want %q", got, tt.remark)
			}
			check.Path = "/"
			if got := d.check(check, patience); !strings.HasPrefix(got, tt.remark) || (got == "") != (tt.remark == "") {
				t.Errorf("a page: got %q, want %q", got, tt.remark)
			}
		})
	}
}
