package lb

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// FTP opens a connection for each transfer, to an address that was named in the
// control connection: by the server, which the client then connects to (PASV,
// EPSV), or by the client, which the server connects to (PORT, EPRT).
//
// With DSR and TUN a persistent service of port 21 takes the data connections as
// well: see matchFTP. With NAT the control connection is read (ip_vs_ftp), always:
// for each address an expectation is entered in the connection table, a connection
// of which one port is not known yet, and which the first packet that fits it
// turns into the data connection. A server's own address and port in its replies
// become the VIP's. Connections and expectations hold on to their control
// connection, so that it outlives long transfers.

const (
	ftpPort     = 21
	ftpDataPort = 20
)

// matchFTP is the service of port 21 for a packet that may open a data connection:
// to port 20, or to one that is not privileged (ip_vs_service_find).
func (s *snapshot) matchFTP(proto Protocol, vip forward.Addr, port uint16) *service {
	if proto != TCP || port != ftpDataPort && port < firstUnprivileged {
		return nil
	}
	if v := s.services.find(TCP, vip, ftpPort); v != nil && v.port == ftpPort {
		return v
	}
	return nil
}

const firstUnprivileged = 1024

// ftp is what is known of the control connections of method NAT. Only they, and new
// connections while there are expectations, pay for its locks.
type ftp struct {
	expected atomic.Int64 // expectations in the table

	mu       sync.Mutex
	controls map[life]*ftpControl
}

// life is a connection and its generation.
type life uint64

func lifeOf(c uint32, m meta) life { return life(m>>metaGen)<<32 | life(c) }

// ftpControl is a control connection. Locks of shards are taken while its own is
// held, never the other way.
type ftpControl struct {
	mu              sync.Mutex
	client, server  lineReader
	edits           forward.Edits // of what the server sends
	passive, active entry         // the last expectation of each kind
}

// entry is a connection, as long as it lives that life.
type entry struct {
	conn uint32
	meta meta
}

// ftpControl returns what is known of a control connection. A live one is made
// known if its packet is to be read.
func (x *plane) ftpControl(c uint32, m meta, read bool) *ftpControl {
	x.ftp.mu.Lock()
	defer x.ftp.mu.Unlock()
	at := lifeOf(c, m)
	k := x.ftp.controls[at]
	// One that ends now waits to be forgotten.
	if k == nil && read && x.table.conns[c].load().sameLife(m) {
		if x.ftp.controls == nil {
			x.ftp.controls = map[life]*ftpControl{}
		}
		k = &ftpControl{}
		x.ftp.controls[at] = k
	}
	return k
}

// forget drops a control connection that has ended.
func (x *ftp) forget(c uint32, m meta) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.controls, lifeOf(c, m))
}

// lineReader tells where in one direction of a control connection lines begin, so
// that no text within a line passes for a command or reply.
type lineReader struct {
	next  uint32 // sequence number of the last line that has begun
	known bool
}

// lines calls each with the lines that begin in a segment, as far as they are in it.
func (l *lineReader) lines(seq uint32, b []byte, each func(at uint32, line []byte)) {
	if !l.known {
		l.next, l.known = seq, true
	}
	if l.next == seq {
		each(seq, b)
	}
	for i := bytes.IndexByte(b, '\n') + 1; i > 0; {
		at := seq + uint32(i)
		if int32(at-l.next) > 0 {
			l.next = at
		}
		each(at, b[i:])
		n := bytes.IndexByte(b[i:], '\n') + 1
		if n == 0 {
			return
		}
		i += n
	}
}

// readable reports whether a segment may be read: it is whole, and not damaged.
func readable(f *forward.Frame, p *forward.Packet) bool {
	return p.Frag == forward.NotFrag && p.PayloadLen() > 0 && p.TCPFlags&forward.FlagSYN == 0 && forward.ChecksumOK(f, p)
}

func sequence(f *forward.Frame, p *forward.Packet) uint32 {
	return binary.BigEndian.Uint32(f.Bytes()[p.L4+4:])
}

// ftpCommand reads what the client of a control connection sends, and makes it fit
// what the server has sent. It comes before translation.
func (w *worker) ftpCommand(f *forward.Frame, to target) {
	p := w.packet
	k := w.ftpControl(to.conn, to.meta, p.PayloadLen() > 0)
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.edits.Acknowledge(f, p)
	if !readable(f, p) {
		return
	}
	k.client.lines(sequence(f, p), f.Bytes()[p.Payload:p.End], func(_ uint32, line []byte) {
		// Another address than the client's own is for the server to refuse.
		if e, ok := forward.ParseFTP(line, false); ok && e.Addr == p.Src {
			w.expectFromServer(k, to, e.Port)
		}
	})
}

// ftpReply reads what the server of a control connection sends and puts the VIP's
// address in the place of its own. It comes before translation. room is the MTU to
// the client.
func (w *worker) ftpReply(snap *snapshot, f *forward.Frame, c uint32, m meta, room int) Reason {
	p := w.packet
	k := w.ftpControl(c, m, p.PayloadLen() > 0)
	if k == nil {
		return forwarded
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if readable(f, p) {
		k.server.lines(sequence(f, p), f.Bytes()[p.Payload:p.End], func(at uint32, line []byte) {
			e, ok := forward.ParseFTP(line, true)
			at += uint32(e.At)
			if !ok || k.edits.At(at) || e.Port < firstUnprivileged || e.Kind == forward.FTPPasv && p.Version != 4 {
				return
			}
			key := w.table.key(c)
			if port, ok := w.expectFromClient(snap, k, entry{c, m}, &key, e.Port); ok {
				var text [forward.MaxEdit]byte
				k.edits.Add(at, e.Len, e.Append(text[:0], addrOf(key[2], key[3]), port))
			}
		})
	}
	return Reason(k.edits.Rewrite(f, p, room))
}
