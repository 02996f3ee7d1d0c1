package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/golb/golb/"

// rule is for one package, or with /... for all packages below a directory that have no
// rule of their own. Packages of this module are named by their directory, others by
// their import path. Files of tests may import what they like.
type rule struct {
	pkg     string
	imports []string // of this module; other packages may be imported unless not or never says no
	not     []string // not by itself
	std     bool     // nothing but this module and the standard library, also by way of others
	never   []string // also not by way of others
}

// heavy is what an embedder of package lb need not take.
var heavy = []string{
	"github.com/goccy/go-yaml/...", "go.yaml.in/...", "gopkg.in/...", "sigs.k8s.io/...", "github.com/spf13/...", "github.com/google/gopacket/...",
	"github.com/gopacket/...", "github.com/prometheus/...", "github.com/cilium/...", "pgregory.net/...", "testing",
}

// bpf is for each kind of port to know: package forward has a filter that all understand.
var bpf = []string{"golang.org/x/net/bpf"}

// lbImports are what package lb is built from.
var lbImports = []string{"arp", "forward", "forward/afpacket", "forward/afxdp", "health", "health/agent", "health/alert", "health/printable", "lb/internal/...", "sched"}

// rules go from the packages that stand alone to those that use all others.
var rules = []rule{
	{pkg: "forward", std: true},
	{pkg: "sched/siphash", std: true},
	{pkg: "sched", imports: []string{"sched/siphash"}, std: true},
	{pkg: "forward/...", imports: []string{"forward"}},
	{pkg: "arp"},
	{pkg: "arp/...", imports: []string{"arp"}},
	{pkg: "health/...", imports: []string{"health/..."}},

	{
		pkg: "lb/internal/dataplane", imports: []string{"forward", "sched", "sched/siphash", "lb/internal/affinity", "lb/internal/hugepages"},
		never: slices.Concat(heavy, []string{
			"net", "net/http/...", "log/slog/...", "github.com/vishvananda/...", "health/...", "arp/...", "forward/afpacket", "forward/afxdp", "golang.org/x/net/...",
		}),
	},
	{pkg: "lb/internal/hostlock", imports: []string{"health/printable"}},
	{pkg: "lb/internal/..."},
	{pkg: "lb", imports: lbImports, not: bpf, never: heavy},

	{pkg: "lb/api", imports: []string{"lb", "health/printable"}, never: heavy},
	{pkg: "lb/console", imports: []string{"lb/api"}},
	{pkg: "lb/metrics", imports: []string{"lb"}},
	{pkg: "lb/snmp", imports: []string{"lb"}},
	{pkg: "lb/ha", imports: []string{"lb", "arp/vrrp"}, never: heavy},
	{pkg: "lb/replica", imports: []string{"lb"}, never: heavy},
	{pkg: "lb/replica/ipvssync", imports: []string{"lb"}, never: heavy},
	{pkg: "lb/nlb", imports: []string{"lb"}, never: heavy},
	{pkg: "lb/conf", imports: []string{"lb", "lb/internal/fields"}},
	{pkg: "lb/ipvsadm", imports: []string{"lb"}, never: heavy},
	{pkg: "lb/ldirectord", imports: []string{"lb"}, never: heavy},
	{pkg: "lb/keepalived", imports: []string{"lb"}, never: heavy},
	// forward too, since who implements lb.Port deals in its frames.
	{pkg: "lb/lbtest", imports: []string{"lb", "forward"}, not: bpf, never: heavy},
	{pkg: "lb/lbtest/lab", never: heavy},
	{pkg: "lb/lbtest/seeded"},
	{pkg: "lb/simulate", imports: []string{"lb", "lb/ipvsadm", "lb/lbtest", "forward"}, never: heavy},

	{pkg: "examples/internal/exampletest", imports: []string{"lb/lbtest/lab"}},
	{pkg: "examples/...", imports: []string{"lb", "lb/conf", "forward", "sched", "health", "lb/lbtest", "lb/lbtest/lab", "examples/internal/exampletest"}},
	{pkg: "benchmarks/...", imports: []string{"lb", "forward", "sched", "forward/afpacket", "lb/lbtest", "lb/lbtest/lab", "benchmarks/..."}},
	{pkg: "cmd/golb/...", imports: []string{"..."}},
}

// opener is the file of package lb that knows what ports are made of.
const opener = "ports.go"

// golbPackage is a package of this module, all named as in the rules.
type golbPackage struct {
	name    string
	imports []string // of this module
	others  []string // imported of other modules and the standard library
	deps    []string // all, also by way of others
	foreign []string // those that are neither of this module nor of the standard library
}

func TestPackagesImportWhatThePlanAllows(t *testing.T) {
	list := packages(t)
	for _, p := range list {
		for _, problem := range problems(p) {
			t.Error(problem)
		}
	}
	for _, name := range []string{"lb", "lb/internal/dataplane", "forward", "sched"} {
		if !slices.ContainsFunc(list, func(p golbPackage) bool { return p.name == name && len(p.deps) > 0 }) {
			t.Errorf("%s is not listed, so that its rule says nothing", name)
		}
	}
}

// TestPortsAreOpenedInOneFile: others of package lb know ports by its interface alone.
func TestPortsAreOpenedInOneFile(t *testing.T) {
	files, err := filepath.Glob("../../*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files of package lb:", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasSuffix(name, "_test.go") || name == opener {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path := strings.TrimPrefix(strings.Trim(i.Path.Value, `"`), module)
			if path == "forward/afpacket" || path == "forward/afxdp" {
				t.Errorf("lb/%s imports %s; only %s may", name, path, opener)
			}
		}
	}
}

// problems are the imports of p that its rule forbids.
func problems(p golbPackage) (list []string) {
	r, ok := ruleOf(p.name)
	if !ok {
		return []string{p.name + " is not in the plan of package layout: give it a rule"}
	}
	for _, i := range p.imports {
		if !matches(r.imports, i) {
			list = append(list, fmt.Sprintf("%s imports %s", p.name, i))
		}
	}
	for _, i := range p.others {
		if matches(r.not, i) {
			list = append(list, fmt.Sprintf("%s imports %s", p.name, i))
		}
	}
	for _, d := range p.deps {
		if matches(r.never, d) {
			list = append(list, fmt.Sprintf("%s depends on %s", p.name, d))
		}
	}
	for _, d := range p.foreign {
		if r.std {
			list = append(list, fmt.Sprintf("%s depends on %s, which is not of the standard library", p.name, d))
		}
	}
	return list
}

// ruleOf is the rule for a package: its own, or else that of the closest directory.
func ruleOf(pkg string) (best rule, ok bool) {
	for _, r := range rules {
		if r.pkg == pkg {
			return r, true
		}
		if match(r.pkg, pkg) && len(r.pkg) > len(best.pkg) {
			best, ok = r, true
		}
	}
	return best, ok
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

func match(pattern, pkg string) bool {
	dir, below := strings.CutSuffix(pattern, "...")
	return pkg == pattern || below && (dir == "" || strings.HasPrefix(pkg+"/", dir))
}

// packages are those of this module as they are built for Linux.
func packages(t *testing.T) (list []golbPackage) {
	t.Helper()
	readDirectories(t)
	cmd := exec.Command("go", "list", "-pgo=off", "-deps", "-json=ImportPath,Imports,Deps,Standard,Error", "./...")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "GOOS=linux")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	type listed struct {
		ImportPath    string
		Imports, Deps []string
		Standard      bool
		Error         *struct{ Err string }
	}
	all := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Error != nil {
			t.Fatal(p.Error.Err)
		}
		all[p.ImportPath] = p
	}
	for path, p := range all {
		name, ours := strings.CutPrefix(path, module)
		if !ours {
			continue
		}
		g := golbPackage{name: name}
		for _, i := range p.Imports {
			if name, ours := strings.CutPrefix(i, module); ours {
				g.imports = append(g.imports, name)
			} else {
				g.others = append(g.others, i)
			}
		}
		for _, d := range p.Deps {
			name, ours := strings.CutPrefix(d, module)
			g.deps = append(g.deps, name)
			if !ours && !all[d].Standard {
				g.foreign = append(g.foreign, d)
			}
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b golbPackage) int { return strings.Compare(a.name, b.name) })
	return list
}

// readDirectories reads the module's directories, so that go test runs this test again
// when a file has changed: it does not know what go list reads.
func readDirectories(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRulesForbid(t *testing.T) {
	for _, c := range []struct {
		pkg  golbPackage
		want string // "": it may be so
	}{
		{golbPackage{name: "lb/internal/dataplane", imports: []string{"forward", "sched"}, deps: []string{"net/netip"}}, ""},
		{golbPackage{name: "lb/internal/dataplane", deps: []string{"net"}}, "lb/internal/dataplane depends on net"},
		{golbPackage{name: "lb/internal/dataplane", deps: []string{"log/slog"}}, "lb/internal/dataplane depends on log/slog"},
		{golbPackage{name: "lb/internal/dataplane", deps: []string{"github.com/vishvananda/netlink/nl"}}, "lb/internal/dataplane depends on github.com/vishvananda/netlink/nl"},
		{golbPackage{name: "lb/internal/dataplane", deps: []string{"health"}}, "lb/internal/dataplane depends on health"},
		{golbPackage{name: "lb/internal/dataplane", imports: []string{"lb"}}, "lb/internal/dataplane imports lb"},
		{golbPackage{name: "lb/internal/dataplane", imports: []string{"arp"}}, "lb/internal/dataplane imports arp"},
		{golbPackage{name: "lb/internal/dataplane", imports: []string{"forward/afpacket"}}, "lb/internal/dataplane imports forward/afpacket"},
		{golbPackage{name: "forward", foreign: []string{"golang.org/x/sys/unix"}}, "forward depends on golang.org/x/sys/unix, which is not of the standard library"},
		{golbPackage{name: "sched", imports: []string{"forward"}}, "sched imports forward"},
		{golbPackage{name: "health", imports: []string{"health/internal/budget"}}, ""},
		{golbPackage{name: "health/alert", imports: []string{"lb"}}, "health/alert imports lb"},
		{golbPackage{name: "arp", imports: []string{"forward"}}, "arp imports forward"},
		{golbPackage{name: "lb", deps: []string{"github.com/cilium/ebpf/link"}}, "lb depends on github.com/cilium/ebpf/link"},
		{golbPackage{name: "lb", others: []string{"golang.org/x/net/bpf", "net"}}, "lb imports golang.org/x/net/bpf"},
		{golbPackage{name: "lb", imports: []string{"lb/conf"}}, "lb imports lb/conf"},
		{golbPackage{name: "lb/api", imports: []string{"lb", "lb/conf"}}, "lb/api imports lb/conf"},
		{golbPackage{name: "lb", imports: []string{"lb/lbtest/seeded"}}, "lb imports lb/lbtest/seeded"},
		{golbPackage{name: "util"}, "util is not in the plan of package layout: give it a rule"},
		{golbPackage{name: "cmd/golb/internal/demo", imports: []string{"lb/conf", "health"}}, ""},
	} {
		if got := strings.Join(problems(c.pkg), "; "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.pkg, got, c.want)
		}
	}
}
