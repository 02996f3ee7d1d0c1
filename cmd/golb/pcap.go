package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// pcapReader reads a capture in libpcap's format: draft-ietf-opsawg-pcap.
type pcapReader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	unit  time.Duration // of fractions of a second
	link  uint32
}

// Link types whose IP packets are found: https://www.tcpdump.org/linktypes.html.
const (
	linkEthernet = 1
	linkRaw      = 101 // IP packets
)

// maxPcapFrame is more than the frame of any capture; a larger length means a damaged file.
const maxPcapFrame = 1 << 20

func newPcapReader(in io.Reader) (*pcapReader, error) {
	p := &pcapReader{in: bufio.NewReader(in)}
	var header [24]byte
	if _, err := io.ReadFull(p.in, header[:]); err != nil {
		return nil, fmt.Errorf("not a pcap file: %w", err)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(header[:]) {
		case 0xa1b2c3d4:
			p.order, p.unit = order, time.Microsecond
		case 0xa1b23c4d:
			p.order, p.unit = order, time.Nanosecond
		}
	}
	if p.order == nil {
		return nil, fmt.Errorf("not a pcap file: begins with %x", header[:4])
	}
	p.link = p.order.Uint32(header[20:]) & 0xffff
	if p.link != linkEthernet && p.link != linkRaw {
		return nil, fmt.Errorf("link type %d: want Ethernet (%d) or raw IP (%d)", p.link, linkEthernet, linkRaw)
	}
	return p, nil
}

// next returns the next IP packet and its time of capture; nil for a frame that holds none,
// and io.EOF at the end.
func (p *pcapReader) next() (time.Time, []byte, error) {
	var header [16]byte
	if _, err := io.ReadFull(p.in, header[:]); errors.Is(err, io.EOF) {
		return time.Time{}, nil, io.EOF
	} else if err != nil {
		return time.Time{}, nil, fmt.Errorf("truncated: %w", err)
	}
	at := time.Unix(int64(p.order.Uint32(header[:])), int64(p.order.Uint32(header[4:]))*int64(p.unit))
	n := p.order.Uint32(header[8:])
	if n > maxPcapFrame {
		return time.Time{}, nil, fmt.Errorf("a frame of %d bytes: damaged", n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(p.in, frame); err != nil {
		return time.Time{}, nil, fmt.Errorf("truncated: %w", err)
	}
	if p.link == linkRaw {
		return at, frame, nil
	}
	return at, ipPacket(frame), nil
}
