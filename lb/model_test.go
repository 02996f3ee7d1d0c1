package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/golb/golb/forward"
)

// model is what ip_vs does with connections, templates and counts, in plain maps:
// the rules that TestModel holds the engine against. What a scheduler picks it
// takes as given, as long as the server was eligible.
type model struct {
	now       tick
	cfg       modelConfig
	servers   map[modelServerKey]*modelServer // those removed too
	conns     map[modelFlow]*modelConn
	templates map[modelTemplateKey]*modelTemplate // by which connections find them
	voided    map[*modelTemplate]bool             // found no more, but still alive
	timeouts  map[int]map[string]tick             // by service, as of its last configuration: in seconds, those that are not ip_vs's
	touched   *modelConn                          // by the last packet
	made      int                                 // connections
}

type modelServerKey struct {
	service int
	addr    netip.AddrPort
}

type modelServer struct {
	modelServerKey
	cfg       modelServerConfig
	available bool
	weight    int // as set; cfg has what was configured
	state     ServerState
	overload  bool

	active, inactive, templates int64
}

// modelFlow is what a client's packets of a connection have in common.
type modelFlow struct {
	proto       Protocol
	client, vip netip.AddrPort
}

func (f modelFlow) String() string { return fmt.Sprintf("%v %v %v", f.proto, f.client, f.vip) }

type modelConn struct {
	modelFlow
	number   int // of those ever made
	server   *modelServer
	method   Method
	port     uint16 // of the server
	state    string
	active   bool
	oneWay   bool // no packet of the server has been seen
	assured  bool
	packets  uint16
	end      tick
	template *modelTemplate
}

// modelTemplateKey of a grouped service has neither protocol nor VIP.
type modelTemplateKey struct {
	service int
	proto   Protocol
	client  netip.Addr
	vip     netip.AddrPort
}

type modelTemplate struct {
	modelTemplateKey
	server   *modelServer
	end      tick
	timeout  tick
	controls int
	assured  bool
	invalid  bool // in voided
}

// modelStates and modelTables are tcp_states of ip_vs_proto_tcp.c as the kernel's source
// writes them.
var (
	modelStates     = strings.Fields("NO ES SS SR FW TW CL CW LA LI SA")
	modelStateNames = strings.Fields("NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK")
)

func before(a, b tick) bool { return int32(a-b) < 0 }

var modelTimeouts = map[string]tick{
	"UDP": 300, "NO": 2, "ES": 900, "SS": 120, "SR": 60, "FW": 120, "TW": 120, "CL": 10, "CW": 60, "LA": 30, "LI": 120, "SA": 120,
}

var modelTables = map[string]map[string][]string{
	"INPUT": {
		"syn": strings.Fields("SR ES ES SR SR SR SR SR SR SR SR"),
		"fin": strings.Fields("CL CW SS TW TW TW CL CW LA LI TW"),
		"ack": strings.Fields("ES ES SS ES FW TW CL CW CL LI ES"),
		"rst": strings.Fields("CL CL CL SR CL CL CL CL LA LI SR"),
	},
	"OUTPUT": {
		"syn": strings.Fields("SS ES SS SR SS SS SS SS SS LI SR"),
		"fin": strings.Fields("TW FW SS TW FW TW CL TW LA LI TW"),
		"ack": strings.Fields("ES ES SS ES FW TW CL CW LA ES ES"),
		"rst": strings.Fields("CL CL SS CL CL TW CL CL CL CL CL"),
	},
	"INPUT_ONLY": {
		"syn": strings.Fields("SR ES ES SR SR SR SR SR SR SR SR"),
		"fin": strings.Fields("CL FW SS TW FW TW CL CW LA LI TW"),
		"ack": strings.Fields("ES ES SS ES FW TW CL CW CL LI ES"),
		"rst": strings.Fields("CL CL CL SR CL CL CL CL LA LI CL"),
	},
}

func modelNext(state, table string, flags uint8) string {
	event := ""
	switch {
	case flags&forward.FlagRST != 0:
		event = "rst"
	case flags&forward.FlagSYN != 0:
		event = "syn"
	case flags&forward.FlagFIN != 0:
		event = "fin"
	case flags&forward.FlagACK != 0:
		event = "ack"
	default:
		return "CL"
	}
	return modelTables[table][event][slices.Index(modelStates, state)]
}

// seen is what the engine did with a packet.
type seen struct {
	reason Reason
	frames int            // sent to servers, or, of replies, to the client
	mac    forward.MAC    // that the frame went to
	dst    netip.AddrPort // its IP destination
	src    netip.AddrPort
}

func (s seen) String() string {
	return fmt.Sprintf("%v, %d frames, to %v as %v", s.reason, s.frames, s.mac, s.dst)
}

// fromClient says whether what the engine did with a client's packet is right, and
// moves the model on.
func (m *model) fromClient(f modelFlow, flags uint8, got seen) error {
	m.touched = nil
	if c := m.conns[f]; c != nil {
		switch {
		case f.proto == TCP && flags&forward.FlagSYN != 0 && m.reusable(c):
			return m.renew(c, flags, got)
		case c.server.available:
			m.setProtocolState(c, flags, false)
			return got.goesTo(c)
		case !m.cfg.expireNodest:
			return got.dropped(ServerGone)
		default:
			return m.renew(c, flags, got)
		}
	}
	return m.schedule(f, flags, got)
}

// renew is a packet in the place of c, which its server counts until it is
// scheduled.
func (m *model) renew(c *modelConn, flags uint8, got seen) error {
	delete(m.conns, c.modelFlow)
	err := m.schedule(c.modelFlow, flags, got)
	m.uncount(c)
	return err
}

// reusable reports whether a SYN ends the connection and begins another: ip_vs_in_hook and
// is_new_conn_expected of ip_vs_core.c.
func (m *model) reusable(c *modelConn) bool {
	if m.cfg.expireNodest && c.server.effective() == 0 {
		return true
	}
	return m.cfg.reuse != 0 && c.template == nil &&
		(c.state == "TW" || c.state == "CL" || m.cfg.reuse&2 != 0 && c.state == "FW" && c.oneWay)
}

// schedule is ip_vs_schedule, ip_vs_sched_persist and ip_vs_leave of ip_vs_core.c, and
// tcp_conn_schedule of ip_vs_proto_tcp.c.
func (m *model) schedule(f modelFlow, flags uint8, got seen) error {
	i := m.cfg.serviceOf(f)
	if i < 0 {
		if m.cfg.hasVIP(f.vip.Addr()) {
			return got.dropped(NoService)
		}
		return got.dropped(NotVIP)
	}
	if f.proto == TCP && (flags&forward.FlagRST != 0 || flags&forward.FlagSYN == 0 && !m.cfg.sloppyTCP) {
		return got.dropped(NoConnection)
	}
	s := m.cfg.services[i]
	if s.persistence == 0 {
		d, err := m.picked(i, got)
		if err != nil || d == nil {
			return err
		}
		return m.enter(f, flags, d, nil, s, got)
	}
	key := modelTemplateKey{service: i, client: s.masked(f.client.Addr())}
	if !s.grouped() {
		key.proto, key.vip = f.proto, netip.AddrPortFrom(f.vip.Addr(), s.port())
	}
	t := m.templates[key]
	if t != nil && (!t.server.available || m.cfg.expireQuiescent && t.server.effective() == 0) {
		delete(m.templates, key)
		m.voided[t], t.invalid = true, true
		t = nil
	}
	if t == nil {
		d, err := m.picked(i, got)
		if err != nil || d == nil {
			return err
		}
		t = &modelTemplate{modelTemplateKey: key, server: d, timeout: s.persistence, end: m.now + s.persistence}
		m.templates[key] = t
		d.templates++
		d.bound()
	}
	t.end = m.now + t.timeout + 1 // later than a connection that ends then
	return m.enter(f, flags, t.server, t, s, got)
}

// enter makes the connection that a packet begins.
func (m *model) enter(f modelFlow, flags uint8, d *modelServer, t *modelTemplate, s *modelService, got seen) error {
	c := &modelConn{modelFlow: f, server: d, method: d.cfg.method, port: d.addr.Port(), state: "NO", template: t}
	if c.port == 0 || t != nil && s.port() != 0 && f.vip.Port() != s.port() {
		c.port = f.vip.Port()
	}
	c.oneWay = c.method != NAT
	if s.onePacket {
		d.inactive++
		d.bound()
		d.inactive--
		d.unbound()
		return got.goesTo(c)
	}
	if t != nil {
		t.controls++
	}
	m.made++
	c.number = m.made
	m.conns[f] = c
	d.inactive++
	d.bound()
	m.setProtocolState(c, flags, false)
	return got.goesTo(c)
}

// picked is the server that the scheduler picked, if it was right to pick it, and
// nil if it was right to pick none.
func (m *model) picked(i int, got seen) (*modelServer, error) {
	s := m.cfg.services[i]
	if got.reason == NoServer {
		for _, d := range m.servers {
			if d.service == i && m.eligible(d) && !d.overload && s.mustPick() {
				return nil, fmt.Errorf("no server picked, though %v is eligible", d.addr)
			}
		}
		return nil, nil
	}
	if got.reason != forwarded || got.frames != 1 {
		return nil, fmt.Errorf("new connection: %v", got)
	}
	for _, d := range m.servers {
		if d.service == i && d.available && rigServerMAC(d.addr.Addr()) == got.mac {
			if !m.eligible(d) {
				return nil, fmt.Errorf("picked %v: weight %d, overloaded %v", d.addr, d.effective(), d.overload)
			}
			return d, nil
		}
	}
	return nil, fmt.Errorf("picked a server that the service does not have: %v", got)
}

// eligible reports whether a scheduler may pick a server. ip_vs_lblc_schedule of
// ip_vs_lblc.c alone keeps to one that is overloaded.
func (m *model) eligible(d *modelServer) bool {
	return d.available && d.effective() > 0 && (!d.overload || m.cfg.services[d.service].scheduler == "lblc")
}

// fromServer is fromClient for a packet that a server sends.
func (m *model) fromServer(proto Protocol, server, client netip.AddrPort, flags uint8, got seen) error {
	m.touched = nil
	var hit *modelConn // of those to one server that share their reply tuple the newest
	for _, c := range m.conns {
		if c.method == NAT && c.proto == proto && c.client == client && netip.AddrPortFrom(c.server.addr.Addr(), c.port) == server &&
			(hit == nil || c.number > hit.number) {
			hit = c
		}
	}
	if hit != nil {
		if got.reason != forwarded || got.frames != 1 || got.mac != rigClient || got.src != hit.vip || got.dst != hit.client {
			return fmt.Errorf("reply of %v: %v", hit.modelFlow, got)
		}
		m.setProtocolState(hit, flags, true)
		return nil
	}
	if got.frames > 0 && got.src != server {
		return fmt.Errorf("reply of no connection: %v", got)
	}
	return nil
}

// setProtocolState is set_tcp_state of ip_vs_proto_tcp.c and udp_state_transition of ip_vs_proto_udp.c.
func (m *model) setProtocolState(c *modelConn, flags uint8, reply bool) {
	m.touched = c
	table := "INPUT"
	switch {
	case reply:
		c.oneWay, table = false, "OUTPUT"
	case c.oneWay:
		table = "INPUT_ONLY"
	}
	if !reply {
		c.packets++
	}
	if c.proto == UDP {
		c.end = m.now + m.timeout(c, "UDP")
		if reply {
			c.assure()
		}
		return
	}
	c.state = modelNext(c.state, table, flags)
	c.end = m.now + m.timeout(c, c.state)
	if active := slices.Contains([]string{"ES", "SS", "SR", "SA"}, c.state); active != c.active {
		c.active = active
		if active {
			c.server.active, c.server.inactive = c.server.active+1, c.server.inactive-1
		} else {
			c.server.active, c.server.inactive = c.server.active-1, c.server.inactive+1
		}
	}
	if c.state == "ES" {
		c.assure()
	}
}

// timeout is how long a connection lives in a state.
func (m *model) timeout(c *modelConn, state string) tick {
	if t, ok := m.timeouts[c.server.service][state]; ok {
		return t * ticksPerSecond
	}
	return modelTimeouts[state] * ticksPerSecond
}

func (c *modelConn) assure() {
	c.assured = true
	if c.template != nil {
		c.template.assured = true
	}
}

// effective is the weight that schedulers see.
func (d *modelServer) effective() int {
	if d.state != StateActive {
		return 0
	}
	return d.weight
}

// setState is what an operator does to a server; to halt it cuts its connections.
func (m *model) setState(d *modelServer, state ServerState) {
	d.state = state
	if state != StateHalt {
		return
	}
	for _, c := range m.conns {
		if c.server == d {
			m.deleteConn(c)
		}
	}
	for t := range m.allTemplates() {
		if t.server == d && t.controls == 0 {
			m.endTemplate(t)
		}
	}
}

// bound and unbound are ip_vs_bind_dest and ip_vs_unbind_dest of ip_vs_conn.c.
func (d *modelServer) bound() {
	if d.cfg.upper != 0 && d.active+d.inactive >= d.cfg.upper {
		d.overload = true
	}
}

func (d *modelServer) unbound() {
	total := d.active + d.inactive
	switch {
	case d.cfg.lower != 0:
		d.overload = d.overload && total >= d.cfg.lower
	case d.cfg.upper != 0:
		d.overload = d.overload && 4*total >= 3*d.cfg.upper
	default:
		d.overload = false
	}
}

// end ends a connection.
func (m *model) end(c *modelConn) {
	delete(m.conns, c.modelFlow)
	if m.touched == c {
		m.touched = nil
	}
	m.uncount(c)
}

func (m *model) uncount(c *modelConn) {
	if c.active {
		c.server.active--
	} else {
		c.server.inactive--
	}
	c.server.unbound()
	if c.template != nil {
		c.template.controls--
	}
}

func (m *model) endTemplate(t *modelTemplate) {
	if m.voided[t] {
		delete(m.voided, t)
	} else {
		delete(m.templates, t.modelTemplateKey)
	}
	t.server.templates--
	t.server.unbound()
}

// deleteConn ends a connection before its time, as ip_vs_conn_expire of ip_vs_conn.c does with one
// that has no timeout left.
func (m *model) deleteConn(c *modelConn) {
	m.end(c)
	if t := c.template; t != nil && t.controls == 0 && !t.assured {
		m.endTemplate(t)
	}
}

// expire ends what is over at now. Of a template that has connections, or whose last
// one ends at the same time, it asks again until when its end was put off.
func (m *model) expire(now tick, again func(*modelTemplate) (end tick, lives bool)) {
	m.now = now
	held := map[*modelTemplate]bool{}
	for _, c := range m.conns {
		if !before(now, c.end) {
			if c.template != nil {
				held[c.template] = true
			}
			m.end(c)
		}
	}
	for t := range m.allTemplates() {
		if before(now, t.end) {
			continue
		}
		end, lives := tick(0), false
		if t.controls > 0 || held[t] {
			end, lives = again(t)
		}
		if lives {
			t.timeout, t.end = 60*ticksPerSecond, end
		} else if t.controls == 0 {
			m.endTemplate(t)
		}
	}
}

func (m *model) allTemplates() map[*modelTemplate]bool {
	all := map[*modelTemplate]bool{}
	for _, t := range m.templates {
		all[t] = true
	}
	for t := range m.voided {
		all[t] = true
	}
	return all
}

func (m *model) count() int { return len(m.conns) + len(m.templates) + len(m.voided) }

// dropped says whether the packet was dropped for that reason.
func (s seen) dropped(r Reason) error {
	if s.reason != r || s.frames != 0 {
		return fmt.Errorf("%v; want %v", s, r)
	}
	return nil
}

// goesTo says whether the packet went to the server of c.
func (s seen) goesTo(c *modelConn) error {
	dst := c.vip
	if c.method == NAT {
		dst = netip.AddrPortFrom(c.server.addr.Addr(), c.port)
	}
	if s.reason != forwarded || s.frames != 1 || s.mac != rigServerMAC(c.server.addr.Addr()) || s.dst != dst {
		return fmt.Errorf("%v; want it at %v as %v", s, c.server.addr, dst)
	}
	return nil
}
