package lbtest_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

var (
	mac    = forward.MAC{2, 0, 0, 0, 0, 1}
	client = netip.MustParseAddrPort("198.51.100.7:40000")
	vip    = netip.MustParseAddrPort("192.0.2.80:80")
)

func config(check string) lb.Config {
	return lb.Config{Services: []lb.Service{{
		VIP: vip.Addr(), Port: vip.Port(), Check: lb.Check{Type: check},
		Servers: []lb.Server{{Address: netip.MustParseAddr("192.0.2.11")}},
	}}}
}

func start(t *testing.T, cfg lb.Config) (*lbtest.Wire, *lb.Balancer) {
	t.Helper()
	wire := lbtest.NewWire()
	b, stop, err := lbtest.Start(cfg, wire.Env(lbtest.NewClock(time.Unix(0, 0)), mac))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return wire, b
}

func TestEnvServesAnyNumberOfWorkers(t *testing.T) {
	for _, workers := range []int{0, 1, 3} {
		cfg := config("none")
		cfg.Workers = workers
		wire, b := start(t, cfg)
		if got := b.Workers(); got != max(workers, 1) {
			t.Errorf("%d workers run, want %d", got, max(workers, 1))
		}
		var got []forward.MAC
		wire.Station(lbtest.MACOf(netip.MustParseAddr("192.0.2.11")), func(f lbtest.Frame) { got = append(got, forward.MAC(f.Data[6:])) })
		wire.Inject(lbtest.Packet{SrcMAC: lbtest.MACOf(client.Addr()), DstMAC: mac, Src: client, Dst: vip, Flags: forward.FlagSYN}.Frame())
		if len(got) != 1 || got[0] != mac {
			t.Errorf("%d workers: the server got frames from %v, want one from %v", workers, got, mac)
		}
	}
}

// A test must not depend on who answers in the host's network.
func TestChecksReachNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, check := range []string{"tcp", "ping"} {
			_, b := start(t, config(check))
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if s := b.Health()[0].Servers[0]; s.Up || !strings.Contains(s.Reason, "no host answers") {
				t.Errorf("%s: up %v, reason %q", check, s.Up, s.Reason)
			}
		}
	})
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	env := lbtest.NewWire().Env(lbtest.NewClock(time.Unix(0, 0)), mac)
	if _, _, err := lbtest.Start(config("nonsense"), env); err == nil || !strings.Contains(err.Error(), "services[0].check.type") {
		t.Errorf("of a config: %v", err)
	}
	noPorts := errors.New("no ports")
	env.OpenPorts = func(lb.PortConfig) ([]lb.Port, error) { return nil, noPorts }
	if _, _, err := lbtest.Start(config("none"), env); !errors.Is(err, noPorts) {
		t.Errorf("of Run: %v", err)
	}
}
