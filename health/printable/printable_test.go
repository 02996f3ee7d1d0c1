package printable

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain text", "got 5, want 7", "got 5, want 7"},
		{"other scripts", "größer ≥ 3 日本", "größer ≥ 3 日本"},
		{"lines", "a\r\nBcc: b\n", "a Bcc: b"},
		{"escape sequences", "a\x1b[2J\x1b]0;title\x07b", "a [2J ]0;title b"},
		{"C1 controls", "a\u009b2Jb", "a 2Jb"},
		{"writing direction", "a\u202eb\u2066c\u200fd", "a b c d"},
		{"invisible characters", "a\u200bb\ufeffc\u2028d\u00a0e", "a b c d e"},
		{"bytes that are not UTF-8", "a\xff\xfe\xc3b", "a b"},
		{"only what is not printable", "\x00\x7f\n", ""},
		{"too long", strings.Repeat("é", 1000), strings.Repeat("é", 50) + "..."},
		{"cut in a character", "x" + strings.Repeat("é", 1000), "x" + strings.Repeat("é", 49) + "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Line(tt.in, 100); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestErrorKeepsWhatItWraps(t *testing.T) {
	if Error(nil, 9) != nil {
		t.Error("nil became an error")
	}
	if err := Error(io.EOF, 9); err != io.EOF {
		t.Errorf("printable error became %v", err)
	}
	err := Error(errors.Join(io.EOF, errors.New("\x1b[31m")), 9)
	if err.Error() != "EOF [31m" || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, which is EOF: %v", err, errors.Is(err, io.EOF))
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"", "got \x1b[2J", "\xff\u202e", strings.Repeat("é", 99)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const limit = 40
		line := Line(s, limit)
		if len(line) > limit+len("...") || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("got %q", line)
		}
		if again := Line(line, limit+len("...")); again != line {
			t.Errorf("%q once more is %q", line, again)
		}
	})
}
