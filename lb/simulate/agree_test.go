package simulate_test

import (
	"bytes"
	"testing"

	"github.com/golb/golb/lb/simulate"
)

func TestAgreesWithRecordingsOfAKernel(t *testing.T) {
	for file, scenariosInIt := range map[string]int{"decisions.jsonl.gz": 192, "packets.jsonl.gz": 40} {
		lines := recording(t, file)
		var out bytes.Buffer
		if err := simulate.Run(file, bytes.NewReader(lines), &out, simulate.JSON, func(e *simulate.LineError) { t.Error(e) }); err != nil {
			t.Fatal(err)
		}
		want, got := scenarios(t, lines), scenarios(t, out.Bytes())
		if len(want) != scenariosInIt || len(got) != len(want) {
			t.Fatalf("%s: %d scenarios answered of %d, want %d", file, len(got), len(want), scenariosInIt)
		}
		for i := range want {
			t.Run(want[i].Name, func(t *testing.T) {
				differences := compare(&want[i], &got[i])
				for n, d := range differences {
					if n == 3 {
						t.Errorf("and %d more", len(differences)-n)
						break
					}
					t.Error(d)
				}
			})
		}
	}
}
