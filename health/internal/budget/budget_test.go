package budget

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReaderStopsAndKeepsTheError(t *testing.T) {
	spent := errors.New("enough")
	for _, x := range []struct {
		text string
		left int
		want string
		err  error // of io.ReadAll, for which io.EOF is nil
		kept error
	}{
		{"short", 10, "short", nil, io.EOF},
		{"exact", 5, "exact", spent, spent},
		{"much too long", 4, "much", spent, spent},
	} {
		r := &Reader{From: strings.NewReader(x.text), Left: x.left, Spent: spent}
		got, err := io.ReadAll(r)
		if string(got) != x.want || err != x.err || r.Err != x.kept {
			t.Errorf("%q, %d left: read %q, %v, kept %v", x.text, x.left, got, err, r.Err)
		}
	}
}
