package simulate_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/golb/golb/lb/simulate"
)

// recording reads a file of what a Linux director did.
func recording(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scenarios(t *testing.T, lines []byte) []simulate.Scenario {
	t.Helper()
	var list []simulate.Scenario
	in := bufio.NewScanner(bytes.NewReader(lines))
	in.Buffer(nil, len(lines)+1)
	for in.Scan() {
		var sc simulate.Scenario
		if err := json.Unmarshal(in.Bytes(), &sc); err != nil {
			t.Fatal(err)
		}
		list = append(list, sc)
	}
	return list
}

// TestComparisonFindsDifferences turns bits in what was recorded: whatever is not
// free to differ must be missed.
func TestComparisonFindsDifferences(t *testing.T) {
	for _, sc := range scenarios(t, recording(t, "packets.jsonl.gz")) {
		if d := compare(&sc, &sc); d != nil {
			t.Errorf("%s differs from itself: %s", sc.Name, d)
		}
		for i, e := range sc.Events {
			if len(e.Out) == 0 || strings.Contains(e.Note, "hop-by-hop") {
				continue
			}
			other := sc
			other.Events = append([]simulate.Event(nil), sc.Events...)
			changed := e.Out[0]
			last := changed.Packet[len(changed.Packet)-1]
			if isAnswer(&e) {
				continue // how much is quoted may differ
			}
			changed.Packet = changed.Packet[:len(changed.Packet)-1] + string("123456789abcdef0"[strings.IndexByte("0123456789abcdef", last)])
			other.Events[i].Out = append([]simulate.Sent{changed}, e.Out[1:]...)
			if compare(&sc, &other) == nil {
				t.Errorf("%s: %s: the last bit of a frame is not compared", sc.Name, e.Note)
			}
			other.Events[i].Out = e.Out[1:]
			if compare(&sc, &other) == nil {
				t.Errorf("%s: %s: a missing frame is not found", sc.Name, e.Note)
			}
		}
	}
}

func isAnswer(e *simulate.Event) bool {
	p, err := parsePacket(e.Out[0].Packet)
	return err == nil && p.isError()
}
