package lb

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
)

// TestAPinnedServerIsWhereTheConfigSays, whatever ARP says; and where ARP says once it is
// not pinned.
func TestAPinnedServerIsWhereTheConfigSays(t *testing.T) {
	at, moved := forward.MAC{2, 7, 7, 7, 7, 7}, forward.MAC{2, 7, 7, 7, 7, 8}
	x := newHealthRig(t, Service{Servers: []Server{{Address: rigServer(9), MAC: at}}})
	client := netip.MustParseAddrPort("198.51.100.1:4000")
	for i, c := range []struct {
		pin, want forward.MAC
		asked     bool
	}{{at, at, false}, {moved, moved, false}, {forward.MAC{}, rigServerMAC(rigServer(9)), true}, {at, at, false}} {
		cfg := x.b.Config()
		cfg.Services[0].Servers[0].MAC = c.pin
		if err := x.b.Apply(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		_, sent := x.handle(0, rigFrame(rigClient, TCP, client, netip.MustParseAddrPort("192.0.2.80:80"), forward.FlagSYN))
		if len(sent) != 1 || forward.MAC(sent[0]) != c.want {
			t.Errorf("step %d: %d frames, to %x, want to %s", i, len(sent), sent[0][:6], c.want)
		}
		if n := len(x.n.neighbors.byHop); n != 1 {
			t.Errorf("step %d: %d next hops are followed", i, n)
		}
	}
}

func TestOneAddressIsPinnedToOneMAC(t *testing.T) {
	a, b := forward.MAC{2, 7, 7, 7, 7, 7}, forward.MAC{2, 7, 7, 7, 7, 8}
	for _, c := range []struct {
		first, second forward.MAC
		ok            bool
	}{{a, a, true}, {a, forward.MAC{}, true}, {forward.MAC{}, b, true}, {a, b, false}} {
		cfg := Config{Interfaces: []string{"eth0"}}
		for i, mac := range []forward.MAC{c.first, c.second} {
			cfg.Services = append(cfg.Services, Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: uint16(80 + i), Servers: []Server{{Address: rigServer(1), MAC: mac}}})
		}
		if err := cfg.Validate(Env{}); (err == nil) != c.ok {
			t.Errorf("%s and %s: %v", c.first, c.second, err)
		}
	}
}

// TestWhatPacketsCauseIsLoggedOnceInAWhile, and says how much was left out; OnEvent gets
// all of it, and what packets do not cause is logged always.
func TestWhatPacketsCauseIsLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for kind, texts := range eventKinds {
			x := newHealthRig(t, Service{}, 1)
			var log bytes.Buffer
			events := 0
			x.b.env.Logger = slog.New(slog.NewTextHandler(&log, nil))
			x.b.env.OnEvent = func(Event) { events++ }
			const told = 5000
			for range told {
				x.b.tell(Event{Kind: kind})
			}
			lines := strings.Count(log.String(), "\n")
			if texts.limited && lines > 10 || !texts.limited && lines != told || events != told {
				t.Errorf("%s: %d lines and %d events of %d", kind, lines, events, told)
			}
			if !texts.limited {
				continue
			}
			time.Sleep(10 * time.Second)
			log.Reset()
			x.b.tell(Event{Kind: kind})
			if want := fmt.Sprintf("omitted=%d", told-lines); strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), want) {
				t.Errorf("%s: later %q, want a line with %s", kind, log.String(), want)
			}
		}
	})
}
