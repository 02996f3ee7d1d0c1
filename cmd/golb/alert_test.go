package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAlertTestTellsEachRecipient(t *testing.T) {
	var posted atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuses" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		posted.Add(1)
	}))
	defer hook.Close()
	const services = "interfaces: [eth0]\nservices: [{vip: 192.0.2.100, port: 80, servers: [{address: 192.0.2.11}]}]\n"
	tests := []struct {
		name, alerts string
		code         int
		want         []string // lines of the output, in order
	}{
		{"all are reached", fmt.Sprintf("alerts: {webhooks: [{url: '%s/a'}], commands: [{command: /bin/true}]}", hook.URL), exitOK,
			[]string{hook.URL + "/a: N messages sent", "/bin/true: N messages sent"}},
		{"one refuses", fmt.Sprintf("alerts: {webhooks: [{url: '%[1]s/a'}, {url: '%[1]s/refuses'}]}", hook.URL), exitFailed,
			[]string{hook.URL + "/a: N messages sent", hook.URL + "/refuses: failed after 0 messages: webhook: got 403 Forbidden, want 2xx"}},
		{"nobody", "", exitFailed, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			posted.Store(0)
			code, out, stderr := golb(t, "alert", "test", write(t, services+tt.alerts))
			if code != tt.code {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if out == "" {
				got = nil
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if want = strings.ReplaceAll(want, "N", fmt.Sprint(posted.Load())); got[i] != want {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}
