package lb

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// hookRig has one persistent service of two servers.
func hookRig(t *testing.T, hooks func(*Env)) *rig {
	t.Helper()
	return newRigWith(t, &rig{hooks: hooks}, Config{Workers: 1, MaxConnections: minConnections, Services: []Service{{
		Name: "web", VIP: crowdVIP.Addr(), Port: crowdVIP.Port(), Scheduler: "rr", Check: Check{Type: "none"},
		Persistence: Persistence{Timeout: time.Minute},
		Servers:     []Server{{Name: "s1", Address: crowdServer(1)}, {Name: "s2", Address: crowdServer(2)}},
	}}}, 0)
}

// open has a client send a SYN, and returns the MAC that it went to and why it went nowhere.
func (r *rig) open(client netip.AddrPort) (forward.MAC, Reason) {
	reason, sent := r.handle(0, rigFrame(rigClient, TCP, client, crowdVIP, forward.FlagSYN))
	if len(sent) == 0 {
		return forward.MAC{}, reason
	}
	return forward.MAC(sent[0]), reason
}

func TestOnConnectionIsCalledAtBeginAndEnd(t *testing.T) {
	for _, sample := range []uint32{0, 1, 4} {
		var began, ended []netip.AddrPort
		r := hookRig(t, func(env *Env) {
			env.SampleEvery = sample
			env.OnConnection = func(e ConnectionEvent) {
				c := &e.Connection
				if c.Service != "web" || c.VIP != crowdVIP || c.Template || c.State != "NONE" && !e.Removed {
					t.Errorf("event of %+v", c)
				}
				if e.Removed {
					ended = append(ended, c.Client)
				} else {
					began = append(began, c.Client)
				}
			}
		})
		const n = 200
		for i := range n {
			r.open(crowdClient(i))
		}
		if most := len(began); sample < 2 && most != n || sample == 4 && (most < n/8 || most > n/2) {
			t.Errorf("one of %d: %d of %d connections were told of", sample, most, n)
		}
		if len(ended) != 0 {
			t.Errorf("one of %d: %d ended before their time", sample, len(ended))
		}
		r.advance(62 * ticksPerSecond)
		order := func(a, b netip.AddrPort) int { return a.Compare(b) }
		slices.SortFunc(began, order)
		slices.SortFunc(ended, order)
		if !slices.Equal(began, ended) {
			t.Errorf("one of %d: %d began, %d ended, or others did", sample, len(began), len(ended))
		}
	}
}

func TestClientKeyStandsForTheClientInPersistence(t *testing.T) {
	r := hookRig(t, func(env *Env) {
		env.ClientKey = func(f *sched.Flow) [16]byte { return [16]byte{15: byte(f.SrcPort % 2)} }
	})
	want := map[uint16]forward.MAC{}
	for i := range 20 {
		client := crowdClient(i) // of an address of its own
		mac, reason := r.open(client)
		odd := client.Port() % 2
		if first, known := want[odd]; reason != forwarded || known && first != mac {
			t.Errorf("client %v went to %v, %v; another one with its key to %v", client, mac, reason, first)
		}
		want[odd] = mac
	}
	if want[0] == want[1] {
		t.Error("clients of two keys went to one server, by round robin")
	}
}

func TestAdmitDecidesWhichConnectionsBegin(t *testing.T) {
	r := hookRig(t, func(env *Env) {
		env.Admit = func(f *sched.Flow) bool { return f.SrcPort%2 == 0 && f.Hash != 0 }
	})
	for i := range 20 {
		client := crowdClient(i)
		want := forwarded
		if client.Port()%2 != 0 {
			want = NotAdmitted
		}
		if _, got := r.open(client); got != want {
			t.Errorf("client %v: %v, want %v", client, got, want)
		}
	}
	if got := r.b.Stats(); got.Drops[NotAdmitted] != 10 || got.Services[0].Servers[0].Connections+got.Services[0].Servers[1].Connections != 10 {
		t.Errorf("drops %v, servers %+v", got.Drops, got.Services[0].Servers)
	}
}

func TestRefNamesAServerAsTheBalancerDoes(t *testing.T) {
	r := hookRig(t, nil)
	cfg := r.b.Config()
	if err := r.b.SetWeight(cfg.Services[0].Ref(1), 7); err != nil {
		t.Error(err)
	}
	s := Service{VIP: crowdVIP.Addr(), Port: 80, Servers: []Server{{Address: crowdServer(1)}}}
	if got, want := s.Ref(0), (ServerRef{"tcp 192.0.2.80:80", "10.0.0.1:80"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
