package sched

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// recording is what clients and an administrator did to a Linux 6.1 director with
// one DR service, and what it decided, by scheduler ("name flag,flag"). Servers go
// by the last digit of their address; clients' connections outlive the recording.
type recording struct {
	Name   string
	VIP    string   // address:port
	Events []string // "add|edit server weight [upper lower]", "del server", "syn|ack|fin|rst client", "dump"
	Runs   map[string]struct {
		Got    string   // for each packet the server of its connection, '-' for none
		Counts []string // for each dump active/inactive of each server, by address
	}
}

func recordings(t *testing.T) (all []recording) {
	t.Helper()
	file, err := os.Open("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEverySchedulerIsComparedWithIPVS is about what a new scheduler must bring.
func TestEverySchedulerIsComparedWithIPVS(t *testing.T) {
	compared := map[string]bool{}
	for name := range definitions() {
		compared[name] = true
	}
	for _, r := range recordings(t) {
		for scheduler := range r.Runs {
			name, _, _ := strings.Cut(scheduler, " ")
			compared[name] = true
		}
	}
	for _, name := range Names() {
		if !compared[name] {
			t.Errorf("%s: neither a run in testdata/recorded.jsonl nor one of definitions", name)
		}
	}
}

// TestPicksAsRecorded replays what a kernel's ip_vs decided.
func TestPicksAsRecorded(t *testing.T) {
	runs := 0
	for _, r := range recordings(t) {
		for scheduler, want := range r.Runs {
			runs++
			t.Run(strings.ReplaceAll(r.Name+"/"+scheduler, " ", "+"), func(t *testing.T) {
				name, flags, _ := strings.Cut(scheduler, " ")
				o := options()
				o.Fallback = strings.Contains(flags, "sh-fallback") || strings.Contains(flags, "mh-fallback")
				o.Port = strings.Contains(flags, "sh-port") || strings.Contains(flags, "mh-port")
				d := newDirector(newFixture(t, name, o), r.VIP)
				for _, e := range r.Events {
					d.event(t, e)
				}
				if got := string(d.got); got != want.Got {
					t.Errorf("picks:\n got %s\nwant %s", got, want.Got)
				}
				if !slices.Equal(d.counts, want.Counts) {
					t.Errorf("counts:\n got %q\nwant %q", d.counts, want.Counts)
				}
			})
		}
	}
	if runs != 171 {
		t.Errorf("%d runs, want 171", runs)
	}
}

// director is as much of ip_vs as the recordings need: TCP of which only the client's
// packets are seen, thresholds, and servers that come back with the connections they had.
type director struct {
	*fixture
	vip     netip.AddrPort
	servers map[string]*realServer // also those removed
	owner   map[*Server]*realServer
	conns   map[string]*clientConn
	got     []byte
	counts  []string
}

type realServer struct {
	Server
	addr         netip.AddrPort
	upper, lower int64
}

type clientConn struct {
	server *realServer
	state  byte
}

// States of a connection, as the columns of inputOnly; the first two are active.
const (
	established = iota
	synRecv
	finWait
	timeWait
	closed
)

// inputOnly is ip_vs's table of transitions where a server's packets are not seen.
var inputOnly = map[string][5]byte{
	"syn": {established, synRecv, synRecv, synRecv, synRecv},
	"fin": {finWait, timeWait, finWait, timeWait, closed},
	"ack": {established, established, finWait, timeWait, closed},
	"rst": {closed, synRecv, closed, closed, closed},
}

func newDirector(x *fixture, vip string) *director {
	return &director{
		fixture: x, vip: netip.MustParseAddrPort(vip),
		servers: map[string]*realServer{}, owner: map[*Server]*realServer{}, conns: map[string]*clientConn{},
	}
}

func (d *director) event(t *testing.T, event string) {
	op, args, _ := strings.Cut(event, " ")
	switch op {
	case "add", "edit":
		var addr string
		var weight int32
		var upper, lower int64
		fmt.Sscan(args, &addr, &weight, &upper, &lower)
		d.set(op, addr, weight, upper, lower)
	case "del":
		d.remove(&d.servers[args].Server)
	case "dump":
		d.dump()
	case "syn", "ack", "fin", "rst":
		d.packet(op, args)
	default:
		t.Fatalf("unknown event %q", event)
	}
}

func (d *director) set(op, addr string, weight int32, upper, lower int64) {
	s := d.servers[addr]
	if s == nil {
		s = &realServer{addr: netip.MustParseAddrPort(addr)}
		s.Addr, s.Port = s.addr.Addr().As16(), s.addr.Port()
		new(Slab).Init(&s.Server)
		d.servers[addr], d.owner[&s.Server] = s, s
	}
	if upper == 0 || upper > s.upper {
		s.SetOverloaded(false)
	}
	s.upper, s.lower = upper, lower
	if op == "edit" {
		d.edit(&s.Server, weight)
		return
	}
	s.SetGone(false)
	s.ResetLastWeight()
	s.SetWeight(weight)
	d.add(&s.Server)
}

func (d *director) packet(op, client string) {
	c := d.conns[client]
	if c != nil && op == "syn" && (c.state == timeWait || c.state == closed) {
		d.unbind(c)
		delete(d.conns, client)
		c = nil
	}
	if c == nil && op == "syn" {
		if c = d.bind(client); c != nil {
			d.conns[client] = c
		}
	} else if c != nil && !c.server.Gone() {
		d.count(c, -1)
		c.state = inputOnly[op][c.state]
		d.count(c, 1)
	}
	if c == nil {
		d.got = append(d.got, '-')
		return
	}
	addr := c.server.Addr
	d.got = append(d.got, '0'+addr[15])
}

func (d *director) bind(client string) *clientConn {
	src := netip.MustParseAddrPort(client)
	s := d.Pick(&Flow{
		Src: src.Addr().As16(), SrcPort: src.Port(),
		Dst: d.vip.Addr().As16(), DstPort: d.vip.Port(), Proto: 6,
	})
	if s == nil {
		return nil
	}
	c := &clientConn{server: d.owner[s], state: synRecv}
	d.count(c, 1)
	if c.server.upper != 0 && s.Active()+s.Inactive() >= c.server.upper {
		s.SetOverloaded(true)
	}
	return c
}

func (d *director) unbind(c *clientConn) {
	d.count(c, -1)
	s := c.server
	total := s.Active() + s.Inactive()
	if s.lower != 0 && total < s.lower || s.lower == 0 && (s.upper == 0 || 4*total < 3*s.upper) {
		s.SetOverloaded(false)
	}
}

func (d *director) count(c *clientConn, n int64) {
	if c.state <= synRecv {
		c.server.AddConnections(n, 0)
	} else {
		c.server.AddConnections(0, n)
	}
}

func (d *director) dump() {
	list := slices.Clone(d.list)
	slices.SortFunc(list, func(a, b *Server) int { return d.owner[a].addr.Compare(d.owner[b].addr) })
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%d/%d", s.Active(), s.Inactive()))
	}
	d.counts = append(d.counts, strings.Join(out, " "))
}
