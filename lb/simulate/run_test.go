package simulate_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb/simulate"
)

// run plays lines and returns what was written and what was told of bad lines.
func run(t *testing.T, format simulate.Format, lines ...string) (string, []string) {
	t.Helper()
	var out bytes.Buffer
	var bad []string
	err := simulate.Run("in", strings.NewReader(strings.Join(lines, "\n")), &out, format, func(e *simulate.LineError) { bad = append(bad, e.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), bad
}

const setup = `"setup":["-A -t 10.0.0.100:80 -s rr","-a -t 10.0.0.100:80 -r 10.9.1.1:80 -g"]`

// scenarioLine wraps events into a line.
func scenarioLine(events ...string) string {
	return fmt.Sprintf(`{"name":"story",%s,"events":[%s]}`, setup, strings.Join(events, ","))
}

const syn = `{"t":"syn","src":"192.0.2.1:4000","dst":"10.0.0.100:80"}`

// answered is an event with an answer.
func answered(event, answer string) string {
	return strings.TrimSuffix(event, "}") + "," + answer + "}"
}

func TestAnswersAreWrittenIntoTheLine(t *testing.T) {
	for name, tc := range map[string]struct{ in, want []string }{
		"a connection":   {[]string{syn}, []string{answered(syn, `"got":"10.9.1.1:80","state":"SYN_RECV","expires":60`)}},
		"old answers go": {[]string{answered(syn, `"got":"x","out":[],"error":"y"`)}, []string{answered(syn, `"got":"10.9.1.1:80","state":"SYN_RECV","expires":60`)}},
		"other fields stay, and their order": {
			[]string{`{"note":"a <- b","t":"dump","mine":{"b":[1],"a":1.50}}`},
			[]string{`{"note":"a <- b","t":"dump","mine":{"b":[1],"a":1.50},"dests":[{"service":"TCP 10.0.0.100:80","real":"10.9.1.1:80","fwd":"Route","weight":1,"active":0,"inactive":0}]}`},
		},
		"time passes": {
			[]string{syn, `{"t":"sleep","s":30}`, `{"t":"syn","src":"192.0.2.9:1","dst":"10.0.0.100:80"}`, `{"t":"sleep","s":31}`, `{"t":"dump"}`},
			[]string{answered(syn, `"got":"10.9.1.1:80","state":"SYN_RECV","expires":60`), `{"t":"sleep","s":30}`,
				`{"t":"syn","src":"192.0.2.9:1","dst":"10.0.0.100:80","got":"10.9.1.1:80","state":"SYN_RECV","expires":60}`, `{"t":"sleep","s":31}`,
				`{"t":"dump","dests":[{"service":"TCP 10.0.0.100:80","real":"10.9.1.1:80","fwd":"Route","weight":1,"active":1,"inactive":0}]}`},
		},
		"a refused command changes nothing": {
			[]string{`{"t":"cmd","cmd":"-a -t 10.0.0.100:80 -r 10.9.1.1:80 -w 5"}`, `{"t":"dump"}`},
			[]string{`{"t":"cmd","cmd":"-a -t 10.0.0.100:80 -r 10.9.1.1:80 -w 5","error":"destination already exists"}`,
				`{"t":"dump","dests":[{"service":"TCP 10.0.0.100:80","real":"10.9.1.1:80","fwd":"Route","weight":1,"active":0,"inactive":0}]}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, bad := run(t, simulate.JSON, scenarioLine(tc.in...))
			if bad != nil {
				t.Fatal(bad)
			}
			if d := gocmp.Diff(scenarioLine(tc.want...)+"\n", got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestABadLineIsToldAndTheRestGoesOn(t *testing.T) {
	valid := scenarioLine(syn)
	for _, tc := range []struct{ line, want string }{
		{`{`, "JSON"},
		{`[]`, "cannot unmarshal array"},
		{scenarioLine(`{"t":"sync"}`), "event 0 (sync): unknown type; allowed: syn"},
		{scenarioLine(`{"t":"syn","src":"192.0.2.1","dst":"10.0.0.100:80"}`), "event 0 (syn): src: "},
		{scenarioLine(`{"t":"udp","src":"192.0.2.1:1","dst":"[fd00::1]:80"}`), "not of one family"},
		{scenarioLine(syn, `{"t":"rst","src":"10.9.1.1:80","dst":"192.0.2.1:4000","key":"192.0.2.1:4000"}`), `event 1 (rst): key "192.0.2.1:4000": `},
		{scenarioLine(`{"t":"raw","in":"4x"}`), "event 0 (raw): in: "},
		{scenarioLine(`{"t":"raw","in":"45"}`), "not an IPv4 or IPv6 packet: 45"},
		{scenarioLine(`{"t":"sleep","s":-1}`), "event 0 (sleep): -1 seconds; allowed: "},
		{scenarioLine(`{"t":"cmd","cmd":"-a -t 10.0.0.100:80"}`), "event 0 (cmd): "},
		{`{"name":"x","setup":["-A -t 10.0.0.100:80 -s nosuch"],"events":[]}`, `setup "-A -t 10.0.0.100:80 -s nosuch": `},
		{`{"name":"x","setup":["-d -t 10.0.0.100:80 -r 10.9.1.1:80"],"events":[]}`, "no such service"},
		{`{"name":"x","sysctl":["net.ipv4.vs.nosuch=1"],"events":[]}`, `sysctl "net.ipv4.vs.nosuch=1": no setting of golb`},
		{`{"name":"x","sysctl":["net.ipv4.vs.sloppy_tcp"],"events":[]}`, "allowed: NAME=NUMBER"},
	} {
		got, bad := run(t, simulate.JSON, valid, "", tc.line, valid)
		if len(bad) != 1 || !strings.HasPrefix(bad[0], "in:3: ") || !strings.Contains(bad[0], tc.want) {
			t.Errorf("%s\ntold %q, want in:3: … %s", tc.line, bad, tc.want)
		}
		if n := strings.Count(got, "\n"); n != 2 {
			t.Errorf("%s\n%d lines answered, want the 2 good ones", tc.line, n)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken")

func TestRunFailsWhereItCannotWrite(t *testing.T) {
	err := simulate.Run("in", strings.NewReader(scenarioLine(syn)), brokenWriter{}, simulate.JSON, func(e *simulate.LineError) { t.Error(e) })
	if !errors.Is(err, errBroken) {
		t.Errorf("error %v, want %v", err, errBroken)
	}
}

func TestTextIsATrace(t *testing.T) {
	line, err := os.ReadFile("testdata/trace.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/trace.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, bad := run(t, simulate.Text, string(line))
	if bad != nil {
		t.Fatal(bad)
	}
	// What golb numbers itself may change.
	ids := regexp.MustCompile(`id \d+`)
	if d := gocmp.Diff(ids.ReplaceAllString(string(want), "id"), ids.ReplaceAllString(got, "id")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
