package health

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Types of every transport come from the source that they are given.
func TestChecksComeFromTheirSource(t *testing.T) {
	stream, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer stream.Close()
	from := make(chan string, 10)
	go func() {
		for {
			conn, err := stream.Accept()
			if err != nil {
				return
			}
			from <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
			_ = conn.Close()
		}
	}()
	packets, err := net.ListenPacket("udp4", stream.Addr().String())
	if err != nil {
		t.Skip(err)
	}
	defer packets.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, addr, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			from <- addr.(*net.UDPAddr).IP.String()
			_, _ = packets.WriteTo(b[:n], addr)
		}
	}()
	registry := NewRegistry(Builtin()...)
	there := netip.MustParseAddrPort(stream.Addr().String())
	for _, source := range []Source{{Addr: netip.MustParseAddr("127.0.0.7")}, {Addr: netip.MustParseAddr("127.0.0.8"), Interface: "lo"}, {Interface: "lo"}} {
		for kind, params := range map[string]map[string]any{"tcp": nil, "udp": {"send": "x", "reply": true}} {
			key, c, err := registry.New(kind, Peer{Addr: there, Source: source}, params)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(key, source.String()) {
				t.Errorf("%s, %v: key %q", kind, source, key)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = c.Check(ctx)
			cancel()
			if err != nil {
				t.Errorf("%s, %v: %v", kind, source, err)
				continue
			}
			want := "127.0.0.1"
			if source.Addr.IsValid() {
				want = source.Addr.String()
			}
			if got := <-from; got != want {
				t.Errorf("%s, %v: came from %s", kind, source, got)
			}
		}
		for _, kind := range []string{"ping", "syn"} {
			_, c, err := registry.New(kind, Peer{Addr: there, Source: source}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = c.Check(ctx)
			cancel()
			if err != nil && !strings.Contains(err.Error(), "CAP_NET_RAW") {
				t.Errorf("%s, %v: %v", kind, source, err)
			}
			if kind == "syn" && err == nil {
				select {
				case <-from: // where the kernel was faster than its RST
				default:
				}
			}
		}
	}
}

// What this host does not have is trouble of this host.
func TestSourceThatThisHostDoesNotHave(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	for _, source := range []Source{{Addr: netip.MustParseAddr("192.0.2.77")}, {Interface: "golb-none"}} {
		for kind, params := range map[string]map[string]any{"tcp": nil, "http": nil, "udp": {"reply": true}, "dns": nil, "ping": nil, "syn": nil} {
			_, c, err := registry.New(kind, Peer{Addr: netip.MustParseAddrPort("127.0.0.1:9"), Source: source}, params)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = c.Check(ctx)
			cancel()
			if !NotTried(err) && (err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW")) {
				t.Errorf("%s, %v: got %v, want one that was not tried", kind, source, err)
			}
		}
	}
}

func TestMistakesInASource(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	here := netip.MustParseAddr("127.0.0.1")
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	for _, tt := range []struct {
		kind string
		peer Peer
		want string
	}{
		{"tcp", Peer{Addr: netip.MustParseAddrPort("[::1]:80"), Source: Source{Addr: here}}, "source \"127.0.0.1\": of another family than the server"},
		{"tcp", Peer{Addr: somewhere, Source: Source{Interface: "lo"}, Dial: dial}, "interface: the program opens connections itself"},
		{"external", Peer{Addr: somewhere, Source: Source{Addr: here}}, "source: external opens no connection itself"},
	} {
		_, _, err := registry.New(tt.kind, tt.peer, map[string]any{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
