package budget

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReaderStopsAndSaysWhy(t *testing.T) {
	spent := errors.New("enough")
	for _, x := range []struct {
		text string
		left int
		want string
		err  error // io.EOF is told as nil by io.ReadAll
		told error
	}{
		{"short", 10, "short", nil, io.EOF},
		{"just so", 7, "just so", spent, spent},
		{"much too long", 4, "much", spent, spent},
	} {
		r := &Reader{From: strings.NewReader(x.text), Left: x.left, Spent: spent}
		got, err := io.ReadAll(r)
		if string(got) != x.want || err != x.err || r.Err != x.told {
			t.Errorf("%q, %d left: read %q, %v, remembers %v", x.text, x.left, got, err, r.Err)
		}
	}
}
