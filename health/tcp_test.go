package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := ln.Addr().(*net.TCPAddr).AddrPort()
	seen := make(chan error, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
			seen <- err
		}
	}()
	defer ln.Close()
	closed := netip.MustParseAddrPort("127.0.0.1:1")
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	tests := []struct {
		name  string
		check TCP
		want  string // reason; "" is up
		saw   string // what the server's read ended with
	}{
		{"up, closed with FIN", TCP{Addr: open}, "", "EOF"},
		{"up, closed with RST", TCP{Addr: open, Reset: true}, "", "connection reset by peer"},
		{"refused", TCP{Addr: closed}, "connect to 127.0.0.1:1: connection refused", ""},
		{"no answer", TCP{Addr: closed, Dial: never}, "connect to 127.0.0.1:1: no answer in time", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := time.Minute
			if tt.check.Dial != nil { // which never answers
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if got := reasonOf(tt.check.Check(ctx)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.saw == "" {
				return
			}
			if err := <-seen; err != io.EOF && tt.saw == "EOF" || !strings.Contains(err.Error(), tt.saw) {
				t.Errorf("server saw %v, want %s", err, tt.saw)
			}
		})
	}
}

// reasonOf is the reason of a result as a Monitor would give it; "" is up.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return reasonText(err)
}
