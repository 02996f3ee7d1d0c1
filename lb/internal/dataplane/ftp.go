package dataplane

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
func (s *Snapshot) matchFTP(proto uint8, vip forward.Addr, port uint16) *Service {
	if proto != forward.ProtoTCP || port != ftpDataPort && port < firstUnprivileged {
		return nil
	}
	if v := s.services.find(forward.ProtoTCP, vip, ftpPort); v != nil && v.port == ftpPort {
		return v
	}
	return nil
}

const firstUnprivileged = 1024

// ftp is the state of the control connections of method NAT. Only their packets, and new
// connections while there are expectations, take its locks.
type ftp struct {
	expected atomic.Int64 // expectations in the table

	mu       sync.Mutex
	controls map[connID]*ftpControl
}

// ftpControl is a control connection. Its lock comes before those of shards.
type ftpControl struct {
	mu              sync.Mutex
	client, server  lineReader
	edits           forward.Edits // of what the server sends
	passive, active connID        // the last expectation of each kind
}

// maxControls bounds the control connections that are read at once, by the size of the
// table: their state, more than a kilobyte each, takes a third of its memory at most. What is
// more is translated as other connections are, so that passive mode of IPv4 fails in it.
func (p *Plane) maxControls() int { return max(64, len(p.table.conns)/32) }

// ftpControl returns the state of a control connection, or nil. Where there is none, read
// has it made, unless the connection has ended or there are too many.
func (p *Plane) ftpControl(id connID, read bool) *ftpControl {
	p.ftp.mu.Lock()
	defer p.ftp.mu.Unlock()
	k := p.ftp.controls[id]
	// If it ends now, drop waits for the lock.
	if k == nil && read && len(p.ftp.controls) < p.maxControls() && p.exists(id) {
		if p.ftp.controls == nil {
			p.ftp.controls = map[connID]*ftpControl{}
		}
		k = &ftpControl{}
		p.ftp.controls[id] = k
	}
	return k
}

// drop deletes the state of a control connection that has ended.
func (x *ftp) drop(id connID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.controls, id)
}

// lineReader finds where lines begin in one direction of a control connection, so that
// text within a line is not read as a command or reply.
type lineReader struct {
	next   uint32 // sequence number of the last line that has begun
	synced bool
}

// lines calls each with the lines that begin in a segment, as far as they are in it.
func (l *lineReader) lines(seq uint32, b []byte, each func(at uint32, line []byte)) {
	if !l.synced {
		l.next, l.synced = seq, true
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

// readable reports whether a segment's payload may be read: it is no fragment, and its
// checksum is right.
func readable(f *forward.Frame, p *forward.Packet) bool {
	return p.Frag == forward.NotFrag && p.PayloadLen() > 0 && p.TCPFlags&forward.FlagSYN == 0 && forward.ChecksumOK(f, p)
}

func sequence(f *forward.Frame, p *forward.Packet) uint32 {
	return binary.BigEndian.Uint32(f.Bytes()[p.L4+4:])
}

// ftpCommand reads a segment of the client of a control connection, and maps its
// acknowledgment to the server's sequence numbers. It must come before translation.
func (w *Worker) ftpCommand(x *rxPacket) {
	p, f := &x.packet, x.frame
	k := w.plane.ftpControl(x.meta.id(x.conn), p.PayloadLen() > 0)
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
			w.expectFromServer(k, x, e.Port)
		}
	})
}

// ftpReply reads a segment of the server of a control connection, and replaces the
// server's address in it by the VIP's. It must come before translation. mtu is that of the
// hop to the client.
func (w *Worker) ftpReply(x *rxPacket, mtu int) Reason {
	p, f := &x.packet, x.frame
	k := w.plane.ftpControl(x.meta.id(x.conn), p.PayloadLen() > 0)
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
			if port, ok := w.expectFromClient(k, x, e.Port); ok {
				var text [forward.MaxEdit]byte
				vip, _ := w.plane.table.conns[x.conn].vipAddr()
				k.edits.Add(at, e.Len, e.Append(text[:0], vip, port))
			}
		})
	}
	return Reason(k.edits.Rewrite(f, p, mtu))
}
