package main

import (
	"net/http"
	"strings"
	"testing"
)

func TestShellsCompleteWhatTheRunningGolbHas(t *testing.T) {
	_, socket := serveTestBalancer(t, func(*http.Request) {})
	t.Setenv("GOLB_SOCKET", socket)
	for line, want := range map[string]string{
		"drain ":                "10.9.1.1 10.9.1.2 s1 s2",
		"drain s1 ":             "10.9.1.1 10.9.1.2 s1 s2",
		"drain --service ":      "web",
		"connections --server ": "10.9.1.1 10.9.1.2 s1 s2",
		"templates --protocol ": "tcp udp sctp",
		"demo --mode ":          "dsr nat tun gue gre",
		"run --log-level ":      "debug info warn error",
		"run --log-format ":     "auto text json",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		_, out, _ := golb(t, args...)
		words := strings.Fields(out[:max(0, strings.LastIndex(out, "\n:"))])
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
