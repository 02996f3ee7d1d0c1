// Package load makes the traffic that balancers are measured with, the same for all: frames as fast as a port sends them, and
// TCP by a client and a server that spend as little as they can on themselves (epoll, one thread each loop, no buffering).
//
// A client sends messages of MessageLen bytes. An Echo server answers each with as many bytes; in mode Connect it then closes
// the connection, so that the server keeps what TIME_WAIT there is. It all works on Linux only.
package load

import "time"

// MessageLen is the length in bytes of a request and of its answer.
const MessageLen = 64

// Mode is what client and server do with a connection.
type Mode string

// The modes.
const (
	Request  Mode = "request"  // ask and answer, over connections that stay
	Connect  Mode = "connect"  // a connection for each question
	Download Mode = "download" // the server sends all it can
	Upload   Mode = "upload"   // the client does
)

// Result is what a client has seen between Begin and End.
type Result struct {
	Elapsed time.Duration
	Done    uint64 // requests, connections or bytes
	Failed  uint64 // connections that broke
	// P50 and P99 are times from sending a request to having its answer; in mode Connect from the start of the connection
	// to its end.
	P50, P99 time.Duration
}
