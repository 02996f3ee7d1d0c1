package health

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRegistryNamesEveryMistake(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:99")
	pair, _ := certificate(t, time.Hour)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		kind   string
		addr   netip.AddrPort
		params map[string]any
		want   ParamErrors
	}{
		{"type", "tpc", addr, nil, ParamErrors{{Key: "type", Value: "tpc", Problem: "no such type of check", Allowed: NewRegistry(Builtin()...).names()}}},
		{"type that is ldirectord's", "negotiate", addr, nil, ParamErrors{{Key: "type", Value: "negotiate", Problem: "no such type of check: what ldirectord calls service is the type", Allowed: NewRegistry(Builtin()...).names()}}},
		{"number as type", "5", addr, nil, ParamErrors{{Key: "type", Value: "5", Problem: "no such type of check: how many connects come between two is the key connects of a type", Allowed: NewRegistry(Builtin()...).names()}}},
		{"all at once, in order", "tls", addr, map[string]any{"days": -1, "verify": "maybe", "colour": "red", "alpn": map[string]any{"a": []string{"b", "c"}}, "sni": []any{"a", "b"}}, ParamErrors{
			{Key: "alpn", Value: "map[a:[b c]]", Problem: "not a single value", Allowed: "a list of texts without control characters"},
			{Key: "colour", Value: "", Problem: "unknown", Allowed: "alpn, ca, cert, connects, days, key, send_proxy, sni, verify"},
			{Key: "days", Value: "-1", Problem: "not allowed", Allowed: "0 to 36500"},
			{Key: "sni", Value: "[a b]", Problem: "not a single value", Allowed: "text without control characters"},
			{Key: "verify", Value: "maybe", Problem: "not allowed", Allowed: "true or false"},
		}},
		{"nothing given", "tls", addr, map[string]any{"sni": nil}, ParamErrors{{Key: "sni", Value: "<nil>", Problem: "not a single value", Allowed: "text without control characters"}}},
		{"keys that go together", "tls", addr, map[string]any{"cert": "a.pem"}, ParamErrors{{Key: "cert", Value: "a.pem", Problem: "cert and key must be given together"}}},
		{"key under two names", "http", addr, map[string]any{"path": "/a", "request": "/b"}, ParamErrors{{Key: "request", Problem: "given twice: path and request are the same"}}},
		{"secret", "redis", addr, map[string]any{"login": "a", "password": []any{"hidden", "too"}}, ParamErrors{{Key: "password", Problem: "not a single value", Allowed: "text without control characters"}}},
		{"pattern", "http", addr, map[string]any{"receive": "("}, ParamErrors{{Key: "receive", Value: "(", Problem: "missing closing ): (", Allowed: "a regular expression, RE2"}}},
		{"pattern and text", "http", addr, map[string]any{"expect": "a", "contains": "b"}, ParamErrors{{Key: "contains", Problem: "expect is given too"}}},
		{"status", "http", addr, map[string]any{"status": "2xx"}, ParamErrors{{Key: "status", Value: "2xx", Problem: "not allowed", Allowed: "codes and ranges from 100 to 599, as in 200-299,301"}}},
		{"file", "tls", addr, map[string]any{"ca": "/nonexistent"}, ParamErrors{{Key: "ca", Value: "/nonexistent", Problem: "open /nonexistent: no such file or directory", Allowed: "a PEM file"}}},
		{"authority without verify", "https", addr, map[string]any{"ca": ca}, ParamErrors{{Key: "ca", Problem: "needs verify"}}},
		{"body of HEAD", "http", addr, map[string]any{"method": "head", "contains": "OK"}, ParamErrors{{Key: "method", Value: "HEAD", Problem: "its answer has no body to match"}}},
		{"URL as path", "http", addr, map[string]any{"path": "http://www.example/"}, ParamErrors{{Key: "path", Value: "http://www.example/", Problem: "not allowed", Allowed: "a path, without scheme and host"}}},
		{"rcode", "dns", addr, map[string]any{"rcode": "noerror, NXDOMIAN"}, ParamErrors{{Key: "rcode", Value: "noerror, NXDOMIAN", Problem: "not allowed",
			Allowed: "any, or of NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE, with commas between them"}}},
		{"name that is none", "dns", addr, map[string]any{"name": "a..b"}, ParamErrors{{Key: "name", Value: "a..b", Problem: "not a name", Allowed: "at most 255 bytes, of parts of 1 to 63 with dots between them"}}},
		{"key that must be given", "http_proxy", addr, nil, ParamErrors{{Key: "url", Problem: "must be given", Allowed: "an absolute http or https URL"}}},
		{"no port and no default", "tcp", netip.MustParseAddrPort("192.0.2.1:0"), nil, ParamErrors{{Key: "port", Problem: "must be given: tcp has no port of its own"}}},
		{"no address", "tcp", netip.AddrPort{}, nil, ParamErrors{{Key: "address", Problem: "must be given"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c, err := NewRegistry(Builtin()...).New(tt.kind, Peer{Addr: tt.addr}, tt.params)
			if c != nil {
				t.Error("a check in spite of errors")
			}
			var got ParamErrors
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRegistryKeys(t *testing.T) {
	a := Peer{Addr: netip.MustParseAddrPort("192.0.2.1:0")}
	withName := a
	withName.Name = "www.example"
	tests := []struct {
		name   string
		peer   Peer
		params map[string]any
		want   string
	}{
		{"default port", a, nil, "tls 192.0.2.1:443"},
		{"parameters in order", a, map[string]any{"verify": true, "days": 30}, `tls 192.0.2.1:443 days="30" verify="true"`},
		{"lists", a, map[string]any{"alpn": []any{"h2", "imap"}}, `tls 192.0.2.1:443 alpn="h2" alpn="imap"`},
		{"host name", withName, nil, "tls 192.0.2.1:443 as www.example"},
	}
	r := NewRegistry(Builtin()...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := r.New("tls", tt.peer, tt.params)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// What a type shows of itself is what it takes, and all of it is explained.
func TestEveryTypeDocumentsItsKeys(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	seen := map[string]bool{}
	for _, typ := range Builtin() {
		for _, name := range append([]string{typ.Name}, typ.Also...) {
			if seen[name] {
				t.Errorf("%s: name taken twice", name)
			}
			seen[name] = true
		}
		if typ.About == "" {
			t.Errorf("%s: no About", typ.Name)
		}
		takes := func(params map[string]any) error {
			for _, k := range typ.Keys() {
				if _, given := params[k.Name]; k.Required && !given {
					params[k.Name] = k.Example
				}
			}
			_, _, err := registry.New(typ.Name, Peer{Addr: somewhere}, params)
			return err
		}
		if err := takes(map[string]any{}); err != nil {
			t.Errorf("%s: with the examples of its required keys alone: %v", typ.Name, err)
		}
		keys := map[string]bool{}
		for _, k := range typ.Keys() {
			for _, name := range append([]string{k.Name}, k.Also...) {
				if keys[name] {
					t.Errorf("%s: key %s taken twice", typ.Name, name)
				}
				keys[name] = true
			}
			if k.About == "" || k.Allowed == "" {
				t.Errorf("%s: key %s: no About or no Allowed: %q, %q", typ.Name, k.Name, k.About, k.Allowed)
			}
			if k.Required != (k.Example != "") || k.Required && k.Default != "" {
				t.Errorf("%s: key %s: required %v, example %q, default %q", typ.Name, k.Name, k.Required, k.Example, k.Default)
			}
			if k.Default == "" || k.Secret {
				continue
			}
			if err := takes(map[string]any{k.Name: k.Default}); err != nil {
				t.Errorf("%s: default of %s: %v", typ.Name, k.Name, err)
			}
		}
	}
}

// A function that returns a Type, and is not called by Builtin, was forgotten there.
func TestBuiltinHasEveryType(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	declared, called := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() {
				continue
			}
			if results := f.Type.Results; results != nil && len(results.List) == 1 {
				if r, ok := results.List[0].Type.(*ast.Ident); ok && r.Name == "Type" {
					declared[f.Name.Name] = true
				}
			}
			if f.Name.Name == "Builtin" {
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok {
						called[call.Fun.(*ast.Ident).Name] = true
					}
					return true
				})
			}
		}
	}
	if len(declared) == 0 || len(called) == 0 {
		t.Fatalf("%d types declared, %d in Builtin", len(declared), len(called))
	}
	for name := range declared {
		if !called[name] {
			t.Errorf("%s is not in Builtin", name)
		}
	}
}

func TestRegistryHasTheTypesGiven(t *testing.T) {
	named := func(name, about string, also ...string) Type {
		return Type{Name: name, Also: also, About: about, Bind: func(*Keys, Peer) Checker { return On }}
	}
	registry := NewRegistry(named("b", "first"), TCPType(), named("b", "second", "tcp", "old"), named("a", ""))
	var got []string
	for _, typ := range registry.Types() {
		got = append(got, typ.Name+":"+typ.About)
	}
	if diff := cmp.Diff([]string{"a:", "b:second", "tcp:TCP connect"}, got); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"b": "b", "old": "b", "tcp": "tcp", "connect": "tcp", "http": ""} {
		if typ, ok := registry.Find(name); typ.Name != want || ok != (want != "") {
			t.Errorf("%s: found %q, %v, want %q", name, typ.Name, ok, want)
		}
	}
	for _, wrong := range []Type{{Name: "no Bind"}, {Bind: TCPType().Bind}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("type %q: no panic", wrong.Name)
				}
			}()
			NewRegistry(wrong)
		}()
	}
}

// smallProgram makes a check by name.
const smallProgram = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/golb/golb/health"
)

func main() {
	_, checker, err := REGISTRY.New(os.Args[1], health.Peer{}, nil)
	if err == nil {
		err = checker.Check(context.Background())
	}
	fmt.Println(err)
}
`

// A program links the types that it names and no others.
func TestProgramLinksTheTypesItNames(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go in PATH")
	}
	tests := []struct {
		registry string
		links    bool // MySQL and LDAP
	}{
		{"health.NewRegistry(health.TCPType())", false},
		{"health.NewRegistry(health.Builtin()...)", true},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
		main := strings.Replace(smallProgram, "REGISTRY", tt.registry, 1)
		if err := os.WriteFile(source, []byte(main), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(goTool, "build", "-o", binary, source).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KiB", tt.registry, len(b)>>10)
		for function, want := range map[string]bool{"(*TCP).Check": true, "(*MySQL).Check": tt.links, "(*LDAP).Check": tt.links, "(*HTTP).Check": tt.links} {
			if got := bytes.Contains(b, []byte("golb/health."+function)); got != want {
				t.Errorf("%s: links %s: %v, want %v", tt.registry, function, got, want)
			}
		}
	}
}

func TestConnectsBetweenFullChecks(t *testing.T) {
	var calls []string
	reason := map[string]error{}
	stub := func(name string) Checker {
		return CheckerFunc(func(context.Context) error {
			calls = append(calls, name)
			return reason[name]
		})
	}
	c := &Alternate{Full: stub("full"), Cheap: stub("cheap"), N: 2}
	for i := range 10 {
		reason["cheap"], reason["full"] = nil, nil
		switch i {
		case 4:
			reason["cheap"] = errors.New("refused")
		case 5:
			reason["full"] = errors.New("wrong")
		}
		if err := c.Check(t.Context()); (err != nil) != (i == 4 || i == 5) {
			t.Errorf("check %d: %v", i, err)
		}
	}
	want := "full cheap cheap full cheap full full cheap cheap full"
	if got := strings.Join(calls, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMergeKnowsAllNamesOfAKey(t *testing.T) {
	http, _ := NewRegistry(Builtin()...).Find("http")
	base := map[string]any{"path": "/a", "expect": "OK", "colour": "red"}
	got := http.Merge(base, map[string]any{"request": "/b", "host": "www"})
	want := map[string]any{"request": "/b", "host": "www", "expect": "OK", "colour": "red"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(base, http.Merge(base, nil)); diff != "" {
		t.Error(diff)
	}
}

// A check that opens no connection may ask something else about the server, such as
// whether it is under maintenance: servers must not share it.
func TestChecksWithoutTransportHaveAKeyForEachServer(t *testing.T) {
	types := NewRegistry(Type{Name: "own", Bind: func(*Keys, Peer) Checker { return nil }})
	for addr, want := range map[string]string{"192.0.2.1:80": "own 192.0.2.1:80", "[2001:db8::1]:0": "own 2001:db8::1"} {
		if key, _, err := types.New("own", Peer{Addr: netip.MustParseAddrPort(addr)}, nil); err != nil || key != want {
			t.Errorf("%s: key %q, %v; want %q", addr, key, err, want)
		}
	}
}
