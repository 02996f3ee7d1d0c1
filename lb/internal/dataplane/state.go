package dataplane

import (
	"time"

	"github.com/golb/golb/forward"
)

// state is the protocol state of a connection, numbered as ip_vs numbers them.
type state uint8

// TCP states (IP_VS_TCP_S_*).
const (
	tcpNone state = iota
	tcpEstablished
	tcpSynSent
	tcpSynRecv
	tcpFinWait
	tcpTimeWait
	tcpClose
	tcpCloseWait
	tcpLastAck
	tcpListen
	tcpSynAck
	tcpStates
)

var tcpNames = [tcpStates]string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}

// tcpActive are the states that count as active connections.
var tcpActive = [tcpStates]bool{tcpEstablished: true, tcpSynSent: true, tcpSynRecv: true, tcpSynAck: true}

// stateName is how a listing prints a connection's state.
func stateName(proto uint8, s state) string {
	switch {
	case proto == forward.ProtoTCP && s < tcpStates:
		return tcpNames[s]
	case proto == forward.ProtoSCTP && int(s) < len(sctpNames):
		return sctpNames[s]
	case proto == forward.ProtoUDP:
		return "UDP"
	}
	return "NONE"
}

// timeouts are how long a connection lives in each state, in ticks.
type timeouts struct {
	tcp  [tcpStates]Tick
	sctp [sctpStates]Tick
	udp  Tick
}

// defaultTimeouts are those of ip_vs.
func defaultTimeouts() *timeouts {
	const s = TicksPerSecond
	return &timeouts{
		tcp: [tcpStates]Tick{
			tcpNone: 2 * s, tcpEstablished: 900 * s, tcpSynSent: 120 * s, tcpSynRecv: 60 * s,
			tcpFinWait: 120 * s, tcpTimeWait: 120 * s, tcpClose: 10 * s, tcpCloseWait: 60 * s,
			tcpLastAck: 30 * s, tcpListen: 120 * s, tcpSynAck: 120 * s,
		},
		sctp: defaultSCTPTimeouts,
		udp:  300 * s,
	}
}

// Timeouts are how long a connection lives without packets, by its state. Those that
// are 0 leave ip_vs's.
type Timeouts struct {
	Established, FinWait, SynRecv, TimeWait, Close time.Duration // TCP
	UDP                                            time.Duration
	SCTP                                           time.Duration // established
}

// override puts those of o that are not 0 in place.
func (t *timeouts) override(o *Timeouts) {
	for _, x := range []struct {
		to   *Tick
		from time.Duration
	}{
		{&t.tcp[tcpEstablished], o.Established}, {&t.tcp[tcpFinWait], o.FinWait}, {&t.tcp[tcpSynRecv], o.SynRecv},
		{&t.tcp[tcpTimeWait], o.TimeWait}, {&t.tcp[tcpClose], o.Close}, {&t.udp, o.UDP}, {&t.sctp[sctpEstablished], o.SCTP},
	} {
		if x.from != 0 {
			*x.to = Ticks(x.from)
		}
	}
}

func (t *timeouts) of(proto uint8, s state) Tick {
	switch proto {
	case forward.ProtoTCP:
		return t.tcp[s]
	case forward.ProtoSCTP:
		return t.sctp[s]
	}
	return t.udp
}

// templateStep is how long the expiry of a template is put off while it controls
// connections.
const templateStep = Tick(60 * time.Second * TicksPerSecond / time.Second)

// direction is the row of a transition table: who sent the packet, and whether the
// other side's packets are seen at all.
type direction uint8

const (
	fromClient     direction = iota // INPUT
	fromServer                      // OUTPUT
	fromClientOnly                  // INPUT_ONLY: the replies do not pass through golb
	directions
)

// tcpEvent is what a segment says, by its flags: RST before SYN before FIN before ACK.
type tcpEvent uint8

const (
	eventSyn tcpEvent = iota
	eventFin
	eventAck
	eventRst
	eventNone // none of them: the connection goes to CLOSE
	tcpEvents = eventNone
)

func tcpEventOf(flags uint8) tcpEvent {
	switch {
	case flags&forward.FlagRST != 0:
		return eventRst
	case flags&forward.FlagSYN != 0:
		return eventSyn
	case flags&forward.FlagFIN != 0:
		return eventFin
	case flags&forward.FlagACK != 0:
		return eventAck
	}
	return eventNone
}

// nextTCP returns the state after a segment (ip_vs_proto_tcp.c, set_tcp_state).
func nextTCP(s state, d direction, flags uint8) state {
	ev := tcpEventOf(flags)
	if ev == eventNone {
		return tcpClose
	}
	return tcpTable[d][ev][s]
}

const (
	sNO = tcpNone
	sES = tcpEstablished
	sSS = tcpSynSent
	sSR = tcpSynRecv
	sFW = tcpFinWait
	sTW = tcpTimeWait
	sCL = tcpClose
	sCW = tcpCloseWait
	sLA = tcpLastAck
	sLI = tcpListen
	sSA = tcpSynAck
)

// tcpTable is tcp_states of ip_vs_proto_tcp.c: by direction and event, the state
// that follows each state.
var tcpTable = [directions][tcpEvents][tcpStates]state{
	fromClient: {
		/*           NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA */
		eventSyn: {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		eventFin: {sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sTW},
		eventAck: {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		eventRst: {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sSR},
	},
	fromServer: {
		eventSyn: {sSS, sES, sSS, sSR, sSS, sSS, sSS, sSS, sSS, sLI, sSR},
		eventFin: {sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW},
		eventAck: {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES},
		eventRst: {sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL},
	},
	fromClientOnly: {
		eventSyn: {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		eventFin: {sCL, sFW, sSS, sTW, sFW, sTW, sCL, sCW, sLA, sLI, sTW},
		eventAck: {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		eventRst: {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL},
	},
}
