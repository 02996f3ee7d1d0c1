package dataplane

import (
	"bytes"
	"strings"
	"testing"
)

func TestCallID(t *testing.T) {
	const start = "INVITE sip:bob@example.com SIP/2.0\r\n"
	tests := []struct{ message, want string }{
		{start + "Via: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: a84b4c76e66710@pc33\r\nCSeq: 1 INVITE\r\n\r\n", "a84b4c76e66710@pc33"},
		{start + "call-id:x\r\n\r\n", "x"},
		{start + "CALL-ID \t:\t x y \r\n\r\n", "x y"},
		{start + "i: short\r\n\r\n", "short"},
		{start + "I:short\n\n", "short"},
		{start + "i: ended by CR\r", "ended by CR"},
		{start + "Call-ID:\r\n folded\r\n\r\n", "folded"},
		{"SIP/2.0 200 OK\r\nCall-ID: reply\r\n\r\n", "reply"},
		{start + "i: first\r\nCall-ID: second\r\n\r\n", "first"},
		{start + "Call-ID: cut", ""},
		{start + "Call-ID\r\n\r\n", ""},
		{start + "Call-ID:\r\n\r\n", ""},
		{start + "Call-ID: \r\nVia: x\r\n\r\n", ""},
		{start + "Call-IDs: x\r\nxCall-ID: x\r\nIx: x\r\n\r\n", ""},
		{start + "\r\nCall-ID: of the body\r\n\r\n", ""},
		{"Call-ID: of the first line\r\n\r\n", ""},
		{start, ""}, {"\r\n\r\n", ""}, {"", ""}, {"\r", ""},
	}
	for _, tt := range tests {
		if got := string(callID([]byte(tt.message))); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.message, got, tt.want)
		}
	}
}

func FuzzCallID(f *testing.F) {
	f.Add([]byte("INVITE sip:x SIP/2.0\r\nCall-ID: a84b4c76e66710@pc33\r\n\r\n"))
	f.Add([]byte("x\ni:\r\n y\r\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id := callID(b)
		if bytes.ContainsAny(id, "\r\n") || !bytes.Contains(b, id) {
			t.Fatalf("%q of %q", id, b)
		}
		if again := callID(append(bytes.Clone(b), "\r\ni: other\r\n"...)); len(id) > 0 && !bytes.Equal(again, id) && !strings.ContainsAny(string(b), "\r\n") {
			t.Fatalf("%q, and %q with more behind it", id, again)
		}
	})
}
