package health

import (
	"net/netip"
	"strings"
	"testing"
)

// TestKeysOfChecksShowNoSecrets, by which lists show checks; a check with another secret
// has another key.
func TestKeysOfChecksShowNoSecrets(t *testing.T) {
	r := NewRegistry(Builtin()...)
	const secret, other = "s3cr3t-of-the-test", "an0ther-of-the-test"
	for _, c := range []struct {
		typ   string
		shown string
		of    func(secret string) map[string]any
	}{
		{"http", "Authorization", func(s string) map[string]any {
			return map[string]any{"header": map[string]any{"Authorization": "Bearer " + s}}
		}},
		{"http", "Cookie", func(s string) map[string]any { return map[string]any{"header": []any{"Cookie: " + s}} }},
		{"external", "TOKEN=", func(s string) map[string]any {
			return map[string]any{"command": "/bin/true", "env": []any{"TOKEN=" + s}}
		}},
		{"external", "env=", func(s string) map[string]any { return map[string]any{"command": "/bin/true", "env": []any{s}} }},
		{"pgsql", "password=", func(s string) map[string]any { return map[string]any{"login": "check", "password": s} }},
		{"radius", "secret=", func(s string) map[string]any { return map[string]any{"login": "check", "password": "x", "secret": s} }},
	} {
		key := func(s string) string {
			k, _, err := r.New(c.typ, Peer{Addr: netip.MustParseAddrPort("192.0.2.1:80")}, c.of(s))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		if k := key(secret); strings.Contains(k, secret) || !strings.Contains(k, c.shown) || k != key(secret) || k == key(other) {
			t.Errorf("%s: shown as %s", c.typ, k)
		}
	}
	if _, _, err := r.New("http", Peer{Addr: netip.MustParseAddrPort("192.0.2.1:80")}, map[string]any{"header": secret}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a mistake: %v", err)
	}
}
