package lb

import (
	"net"
	"net/netip"
	"testing"
)

// The agent of a server is asked from the source that it has.
func TestAgentsAreAskedFromTheirSource(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	from := make(chan net.Addr, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		from <- conn.RemoteAddr()
		_, _ = conn.Write([]byte("50%\n"))
		_ = conn.Close()
	}()
	there := netip.MustParseAddrPort(l.Addr().String())
	s := checkService("192.0.2.1", Check{}, checkServer(1))
	s.Agent = Agent{Type: agentTCP, Address: there.Addr(), Port: there.Port(), Source: netip.MustParseAddr("127.0.0.9"), Interface: "lo"}
	b, err := New(Config{Interfaces: []string{"wire0"}, Services: []Service{s}}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.agentTarget(&s, &s.Servers[0]).Checker.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := (<-from).(*net.TCPAddr).IP.String(); got != "127.0.0.9" {
		t.Errorf("asked from %s", got)
	}
}
