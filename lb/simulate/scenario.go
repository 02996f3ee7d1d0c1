package simulate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/ipvsadm"
	"github.com/golb/golb/lb/lbtest"
)

// Scenario is a sequence of events on a set of services and servers.
type Scenario struct {
	Name string `json:"name"`
	// Setup are ipvsadm command lines without the word ipvsadm.
	Setup []string `json:"setup"`
	// Sysctl are NAME=VALUE of net.ipv4.vs.*; all others are as in the kernel.
	Sysctl []string `json:"sysctl,omitempty"`
	// Events are EventGap apart.
	Events []Event `json:"events"`
}

// EventGap is the time from one event to the next.
const EventGap = 5 * time.Millisecond

// Event is one event of a scenario, with its answer.
type Event struct {
	// Type is the kind of event: a TCP segment from Src to Dst (syn, ack, fin, rst, synack,
	// and st, a reset), a udp datagram, a raw IP packet, a cmd, a dump of the
	// servers, or a sleep.
	Type string `json:"t"`
	Note string `json:"note,omitempty"`
	Src  string `json:"src,omitempty"` // address:port
	Dst  string `json:"dst,omitempty"` // address:port
	// Key is "client vip" of the connection, of a packet from a server.
	Key     string  `json:"key,omitempty"`
	Command string  `json:"cmd,omitempty"` // as in Setup
	Seconds float64 `json:"s,omitempty"`   // of a sleep
	Packet  string  `json:"in,omitempty"`  // hex, from the IP header on

	Answer
}

// Answer is the result of an event; which fields it has depends on the event's type.
type Answer struct {
	// Got is the server that the packet's connection is bound to, or none.
	Got     string `json:"got,omitempty"`
	State   string `json:"state,omitempty"`
	Expires *int   `json:"expires,omitempty"` // seconds until the connection ends
	Dests   []Dest `json:"dests,omitempty"`   // of a dump
	Out     []Sent `json:"out,omitempty"`     // of a raw packet
	// Error is why a cmd was refused. It has changed nothing.
	Error string `json:"error,omitempty"`
}

// Dest is a server in a dump.
type Dest struct {
	Service  string `json:"service"` // TCP 192.0.2.1:80
	Real     string `json:"real"`    // address:port
	Fwd      string `json:"fwd"`     // Route, Masq or Tunnel
	Weight   int    `json:"weight"`
	Active   int64  `json:"active"`
	Inactive int64  `json:"inactive"`
}

// Sent is a frame that the balancer sent.
type Sent struct {
	DstMAC string `json:"dst_mac"`
	SrcMAC string `json:"src_mac"`
	Packet string `json:"packet"` // hex, from the IP header on
}

// Played is an event with its answer, and the step that the answer is drawn from.
type Played struct {
	Event
	In []byte // the packet of the event, nil where it has none
	Step
}

// Play plays a scenario in a world. It fails where the scenario makes no sense; a
// cmd among the events that is merely refused answers with an error.
func Play(sc *Scenario, w World) ([]Played, error) {
	settings, err := settingsOf(sc.Sysctl)
	if err != nil {
		return nil, err
	}
	p := &player{world: w, rules: rules{settings: settings}}
	defer p.close()
	for _, line := range sc.Setup {
		refused, err := p.command(line)
		if err == nil {
			err = refused
		}
		if err != nil {
			return nil, fmt.Errorf("setup %q: %w", line, err)
		}
	}
	played := make([]Played, len(sc.Events))
	for i := range sc.Events {
		played[i].Event = sc.Events[i]
		played[i].Answer = Answer{}
		if err := p.play(&played[i]); err != nil {
			return nil, fmt.Errorf("event %d (%s): %w", i, sc.Events[i].Type, err)
		}
	}
	return played, nil
}

// player is a scenario on its way.
type player struct {
	world World
	rules rules
	sim   *Simulator // nil before the first service
}

func (p *player) close() {
	if p.sim != nil {
		// Run's own failures come up in Send.
		_ = p.sim.Close()
	}
}

// command runs an ipvsadm command. refused is why it could not be done, err why it
// is no command.
func (p *player) command(line string) (refused, err error) {
	change, err := parse(line)
	if err != nil {
		return nil, err
	}
	next := p.rules.clone()
	if err := next.apply(change); err != nil {
		return err, nil
	}
	if p.sim == nil {
		p.sim, err = New(next.config(), p.world)
	} else {
		err = p.sim.Apply(context.Background(), next.config())
	}
	if err != nil {
		return err, nil
	}
	p.rules = next
	if change.Op == ipvsadm.EditServer {
		// Schedulers hear of every edit, also of one that changes nothing.
		service := lb.Service{VIP: change.Service.Address, Port: change.Service.Port, Protocol: change.Service.Protocol}
		server := netip.AddrPortFrom(change.Server.Address, change.Server.Port)
		return p.sim.Balancer().SetWeight(lb.ServerRef{Service: service.String(), Server: server.String()}, change.Server.Weight), nil
	}
	return nil, nil
}

// flags are those of the TCP segments among the types of events.
var flags = map[string]uint8{
	"syn":    forward.FlagSYN,
	"synack": forward.FlagSYN | forward.FlagACK,
	"ack":    forward.FlagACK,
	"fin":    forward.FlagFIN | forward.FlagACK,
	"rst":    forward.FlagRST,
	"st":     forward.FlagRST,
}

func (p *player) play(e *Played) error {
	if p.sim != nil {
		p.sim.Advance(EventGap)
	}
	switch e.Type {
	case "cmd":
		refused, err := p.command(e.Command)
		if refused != nil {
			e.Error = refused.Error()
		}
		return err
	case "sleep":
		return p.sleep(e.Seconds)
	case "dump":
		e.Dests = p.dump()
		return nil
	case "raw":
		return p.raw(e)
	}
	return p.segment(e)
}

func (p *player) sleep(seconds float64) error {
	const most = 100 * 365 * 24 * 3600
	if seconds < 0 || seconds > most {
		return fmt.Errorf("%g seconds; allowed: 0 to %d", seconds, most)
	}
	if p.sim != nil {
		p.sim.Advance(time.Duration(seconds * float64(time.Second)))
	}
	return nil
}

// raw sends a packet as it is.
func (p *player) raw(e *Played) error {
	var err error
	if e.In, err = hex.DecodeString(e.Packet); err != nil {
		return fmt.Errorf("in: %w", err)
	}
	if err := p.send(e); err != nil {
		return err
	}
	for _, f := range e.Frames {
		e.Out = append(e.Out, Sent{f.Dst.String(), f.Src.String(), hex.EncodeToString(f.Packet)})
	}
	return nil
}

// segment sends a TCP segment or UDP datagram and looks its connection up.
func (p *player) segment(e *Played) error {
	packet := lbtest.Packet{Protocol: lb.UDP, Payload: []byte("golb")}
	if e.Type != "udp" {
		f, ok := flags[e.Type]
		if !ok {
			return errors.New("unknown type; allowed: syn, ack, fin, rst, synack, st, udp, raw, cmd, dump, sleep")
		}
		packet = lbtest.Packet{Protocol: lb.TCP, Flags: f}
	}
	var err error
	if packet.Src, err = netip.ParseAddrPort(e.Src); err != nil {
		return fmt.Errorf("src: %w", err)
	}
	if packet.Dst, err = netip.ParseAddrPort(e.Dst); err != nil {
		return fmt.Errorf("dst: %w", err)
	}
	if packet.Src.Addr().Is4() != packet.Dst.Addr().Is4() {
		return fmt.Errorf("src %s and dst %s are not of one family", packet.Src, packet.Dst)
	}
	client, vip := packet.Src, packet.Dst
	if e.Key != "" {
		if client, vip, err = parseKey(e.Key); err != nil {
			return err
		}
	}
	e.In = packet.Bytes()
	if err := p.send(e); err != nil {
		return err
	}
	p.lookUp(e, packet.Protocol, client, vip)
	return nil
}

func parseKey(key string) (client, vip netip.AddrPort, err error) {
	from, to, _ := strings.Cut(key, " ")
	if client, err = netip.ParseAddrPort(from); err == nil {
		vip, err = netip.ParseAddrPort(to)
	}
	if err != nil {
		err = fmt.Errorf("key %q: %w", key, err)
	}
	return client, vip, err
}

func (p *player) send(e *Played) (err error) {
	if p.sim != nil {
		e.Step, err = p.sim.Send(e.In)
	}
	return err
}

// lookUp answers with a connection.
func (p *player) lookUp(e *Played, proto lb.Protocol, client, vip netip.AddrPort) {
	e.Got, e.Connection = "none", nil
	if p.sim == nil {
		return
	}
	c, ok := p.sim.Balancer().Connection(proto, client, vip)
	if !ok {
		return
	}
	seconds := int(c.Expires / time.Second)
	e.Connection = &c
	e.Got, e.State, e.Expires = c.Server.String(), c.State, &seconds
}

// dump lists the servers.
func (p *player) dump() []Dest {
	list := []Dest{}
	if p.sim == nil {
		return list
	}
	for _, s := range p.sim.Balancer().Stats().Services {
		proto, vip, _ := strings.Cut(s.Match[0].String(), " ")
		service := strings.ToUpper(proto) + " " + strings.Replace(vip, ":all", ":0", 1)
		for _, r := range s.Servers {
			list = append(list, Dest{
				Service: service, Real: netip.AddrPortFrom(r.Address, r.Port).String(), Fwd: methodName(r.Method),
				Weight: r.Weight, Active: r.Active, Inactive: r.Inactive,
			})
		}
	}
	return list
}

// methodName is what ipvsadm -L calls a method.
func methodName(m lb.Method) string {
	switch m {
	case lb.NAT:
		return "Masq"
	case lb.TUN:
		return "Tunnel"
	}
	return "Route"
}
