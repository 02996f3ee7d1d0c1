package vrrp

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// recording is what real keepalived nodes on one switch did: a capture of the switch,
// with the nodes' configurations and what was done to them. Times are seconds.
type recording struct {
	Name       string            `json:"name"`
	File       string            `json:"file"`
	Shows      string            `json:"shows"`
	Keepalived string            `json:"keepalived"` // version
	Conf       map[string]string `json:"conf"`       // by node: a, b, c
	Timeline   []struct {
		At float64 `json:"at"`
		Do string  `json:"do"`
	} `json:"timeline"`
	Packets []recorded `json:"packets"`
}

// recorded is a frame as the makers of the recordings decoded it.
type recorded struct {
	At         float64     `json:"at"`
	SrcMAC     string      `json:"src_mac"`
	Src        string      `json:"src"`
	Dst        string      `json:"dst"`
	TTL        uint8       `json:"ttl"`
	HopLimit   uint8       `json:"hlim"`
	TOS        uint8       `json:"tos"`
	Class      uint8       `json:"tc"`
	ID         uint16      `json:"id"`
	DF         bool        `json:"df"`
	Kind       string      `json:"kind"` // vrrp, arp, na, igmp, hopopt
	Version    uint8       `json:"version"`
	Type       uint8       `json:"type"`
	VRID       uint8       `json:"vrid"`
	Priority   uint8       `json:"priority"`
	Count      int         `json:"count"`
	AuthType   uint8       `json:"auth_type"`
	IntervalS  int         `json:"interval_s"`
	IntervalCS int         `json:"interval_cs"`
	Reserved   uint8       `json:"reserved"`
	Checksum   string      `json:"checksum"`
	ChecksumOK string      `json:"checksum_ok"`
	Addresses  []string    `json:"addresses"`
	AuthData   string      `json:"auth_data"`
	Trailer    string      `json:"trailer"`
	AH         *recordedAH `json:"ah"`
	Hex        string      `json:"hex"`
	Sender     string      `json:"sender"` // of ARP
	Target     string      `json:"target"` // of ARP and neighbor advertisements

	frame []byte
}

type recordedAH struct {
	SPI string `json:"spi"`
	Seq uint32 `json:"seq"`
	ICV string `json:"icv"`
}

func (p *recorded) at() time.Duration { return seconds(p.At) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// ipPacket is the frame without its Ethernet header.
func (p *recorded) ipPacket() []byte { return p.frame[14:] }

// recordings are those in testdata or, where VRRP_RECORDINGS names a directory, those
// there: an index.json or index.json.gz and the captures that it names.
func recordings(t testing.TB) []recording {
	dir := os.Getenv("VRRP_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("testdata", "recordings")
	}
	var all []recording
	if err := json.Unmarshal(readIndex(t, dir), &all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		frames, err := readPcap(filepath.Join(dir, r.File))
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) != len(r.Packets) {
			t.Fatalf("%s: %d frames, %d in the index", r.Name, len(frames), len(r.Packets))
		}
		for i, f := range frames {
			r.Packets[i].frame = f
		}
	}
	return all
}

func readIndex(t testing.TB, dir string) []byte {
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		return b
	}
	f, err := os.Open(filepath.Join(dir, "index.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// readPcap reads a capture of Ethernet frames with microseconds, in this machine's or
// little endian order.
func readPcap(name string) ([][]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		return nil, fmt.Errorf("%s: not a little-endian pcap file", name)
	}
	var frames [][]byte
	for b = b[24:]; len(b) > 0; {
		if len(b) < 16 {
			return nil, fmt.Errorf("%s: truncated", name)
		}
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if n > len(b)-16 {
			return nil, fmt.Errorf("%s: truncated", name)
		}
		frames = append(frames, b[16:16+n])
		b = b[16+n:]
	}
	return frames, nil
}
