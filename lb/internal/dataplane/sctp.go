package dataplane

// SCTP states (IP_VS_SCTP_S_*).
const (
	sctpNone state = iota
	sctpInit1
	sctpInit
	sctpCookieSent
	sctpCookieReplied
	sctpCookieWait
	sctpCookie
	sctpCookieEchoed
	sctpEstablished
	sctpShutdownSent
	sctpShutdownReceived
	sctpShutdownAckSent
	sctpRejected
	sctpClosed
	sctpStates
)

var sctpNames = [sctpStates]string{"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"}

var defaultSCTPTimeouts = [sctpStates]Tick{
	sctpNone: 2 * TicksPerSecond, sctpInit1: 4 * TicksPerSecond, sctpInit: 61 * TicksPerSecond,
	sctpCookieSent: 61 * TicksPerSecond, sctpCookieReplied: 61 * TicksPerSecond, sctpCookieWait: 61 * TicksPerSecond,
	sctpCookie: 61 * TicksPerSecond, sctpCookieEchoed: 61 * TicksPerSecond, sctpEstablished: 900 * TicksPerSecond,
	sctpShutdownSent: 61 * TicksPerSecond, sctpShutdownReceived: 61 * TicksPerSecond, sctpShutdownAckSent: 61 * TicksPerSecond,
	sctpRejected: 4 * TicksPerSecond, sctpClosed: 61 * TicksPerSecond,
}

// sctpEvent is what the first chunk of a packet says (RFC 9260 §3.2).
type sctpEvent uint8

const (
	chunkData sctpEvent = iota // also SACK, HEARTBEAT, ECN and what is not known
	chunkInit
	chunkInitAck
	chunkCookieEcho
	chunkCookieAck
	chunkShutdown
	chunkShutdownAck
	chunkShutdownComplete
	chunkError
	chunkAbort
	sctpEvents
)

// The types of the chunks that open an association, and that end it.
const (
	sctpInitChunk  = 1
	sctpAbortChunk = 6
)

// chunkEvent maps chunk types to events.
func chunkEvent(chunk uint8) sctpEvent {
	switch chunk {
	case sctpInitChunk:
		return chunkInit
	case 2:
		return chunkInitAck
	case sctpAbortChunk:
		return chunkAbort
	case 7:
		return chunkShutdown
	case 8:
		return chunkShutdownAck
	case 9:
		return chunkError
	case 10:
		return chunkCookieEcho
	case 11:
		return chunkCookieAck
	case 14:
		return chunkShutdownComplete
	}
	return chunkData
}

const (
	qNO = sctpNone
	qI1 = sctpInit1
	qIN = sctpInit
	qCS = sctpCookieSent
	qCR = sctpCookieReplied
	qCW = sctpCookieWait
	qCO = sctpCookie
	qCE = sctpCookieEchoed
	qES = sctpEstablished
	qSS = sctpShutdownSent
	qSR = sctpShutdownReceived
	qSA = sctpShutdownAckSent
	qRJ = sctpRejected
	qCL = sctpClosed
)

// sctpTable is sctp_states of ip_vs_proto_sctp.c.
var sctpTable = [directions][sctpEvents][sctpStates]state{
	fromClient: {
		/*                       NO   I1   IN   CS   CR   CW   CO   CE   ES   SS   SR   SA   RJ   CL */
		chunkData:             {qES, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkInit:             {qI1, qIN, qIN, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qIN, qIN},
		chunkInitAck:          {qCW, qCW, qCW, qCS, qCR, qCO, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieEcho:       {qCR, qIN, qIN, qCR, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieAck:        {qES, qI1, qIN, qCS, qCR, qCW, qCO, qES, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdown:         {qSR, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qSR, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdownAck:      {qCL, qIN, qIN, qCS, qCR, qCW, qCO, qCE, qES, qCL, qSR, qCL, qRJ, qCL},
		chunkShutdownComplete: {qCL, qCL, qCL, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qCL, qRJ, qCL},
		chunkError:            {qCL, qI1, qIN, qCS, qCR, qCW, qCO, qCL, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkAbort:            {qCL, qCL, qCL, qCL, qCL, qRJ, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL},
	},
	fromServer: {
		chunkData:             {qES, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkInit:             {qCW, qCW, qCW, qCW, qCW, qCW, qCW, qCW, qES, qCW, qCW, qCW, qCW, qCW},
		chunkInitAck:          {qCS, qCS, qCS, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieEcho:       {qCE, qCE, qCE, qCE, qCE, qCE, qCE, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieAck:        {qES, qES, qES, qES, qES, qES, qES, qES, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdown:         {qSS, qSS, qSS, qSS, qSS, qSS, qSS, qSS, qSS, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdownAck:      {qSA, qSA, qSA, qSA, qSA, qCW, qCO, qCE, qES, qSA, qSA, qSA, qRJ, qCL},
		chunkShutdownComplete: {qCL, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkError:            {qCL, qCL, qCL, qCL, qCL, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkAbort:            {qCL, qRJ, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL},
	},
	fromClientOnly: {
		chunkData:             {qES, qI1, qIN, qCS, qCR, qES, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkInit:             {qI1, qIN, qIN, qIN, qIN, qIN, qCO, qCE, qES, qSS, qSR, qSA, qIN, qIN},
		chunkInitAck:          {qCE, qCE, qCE, qCE, qCE, qCE, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieEcho:       {qES, qES, qES, qES, qES, qES, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkCookieAck:        {qES, qI1, qIN, qES, qES, qCW, qES, qES, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdown:         {qSR, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qSR, qSS, qSR, qSA, qRJ, qCL},
		chunkShutdownAck:      {qCL, qIN, qIN, qCS, qCR, qCW, qCO, qCE, qCL, qCL, qSR, qCL, qRJ, qCL},
		chunkShutdownComplete: {qCL, qCL, qCL, qCL, qCL, qCW, qCO, qCE, qES, qSS, qCL, qCL, qRJ, qCL},
		chunkError:            {qCL, qI1, qIN, qCS, qCR, qCW, qCO, qCE, qES, qSS, qSR, qSA, qRJ, qCL},
		chunkAbort:            {qCL, qCL, qCL, qCL, qCL, qRJ, qCL, qCL, qCL, qCL, qCL, qCL, qCL, qCL},
	},
}
