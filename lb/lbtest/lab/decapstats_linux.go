package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// Stats counts what has been done since the start. It works until Stop.
func (d *Decapsulator) Stats() (DecapStats, error) {
	lost, badUDP, err := d.kernelCounts()
	if err != nil {
		return DecapStats{}, fmt.Errorf("lab: %s: decapsulation counters: %w", d.host.name, err)
	}
	s := DecapStats{
		Unfinished:    d.count.partial.Load(),
		UnfinishedGRE: d.count.partialGRE.Load(),
		Largest:       d.count.largest.Load(),
		Malformed:     d.count.malformed.Load(),
		BadChecksum:   d.count.badChecksum.Load() + badUDP - d.badUDP,
		Lost:          lost,
	}
	taken := [...]*uint64{ipInIP: &s.IPIP, gre: &s.GRE, gue: &s.GUE}
	for _, socket := range d.sockets {
		refused := socket.refused.Load()
		*taken[socket.encap] += socket.accepted.Load() - refused
		s.Refused += refused
	}
	return s, nil
}

// kernelCounts reads what the kernel knows: packets that the sockets have lost, and UDP checksum errors of the host.
func (d *Decapsulator) kernelCounts() (lost, badUDP uint64, err error) {
	ours := make(map[uint64]bool)
	for _, s := range d.sockets {
		ours[s.inode] = true
	}
	err = d.host.Do(func() error {
		for _, name := range []string{"raw", "raw6", "udp", "udp6"} {
			text, err := procNet(name)
			if err != nil {
				return err
			}
			lost += drops(text, ours)
		}
		v4, err := procNet("snmp")
		if err != nil {
			return err
		}
		v6, err := procNet("snmp6")
		if err != nil {
			return err
		}
		badUDP = snmpUDPChecksumErrors(v4) + snmp6UDPChecksumErrors(v6)
		return nil
	})
	return lost, badUDP, err
}

// procNet reads a table of the network namespace that the thread is in. Those of IPv6 may not exist.
func procNet(name string) ([]byte, error) {
	text, err := os.ReadFile("/proc/thread-self/net/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// drops adds the last column of a socket table over the sockets with the given inodes.
func drops(table []byte, inodes map[uint64]bool) (n uint64) {
	const inode, columns = 9, 13
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) >= columns && inodes[number(f[inode])] {
			n += number(f[columns-1])
		}
	}
	return n
}

// snmpUDPChecksumErrors finds InCsumErrors in the line of names that starts with "Udp:" and the line of values under it.
func snmpUDPChecksumErrors(text []byte) uint64 {
	var names [][]byte
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		switch {
		case len(f) == 0 || string(f[0]) != "Udp:":
		case names == nil:
			names = f
		default:
			for i := range min(len(f), len(names)) {
				if string(names[i]) == "InCsumErrors" {
					return number(f[i])
				}
			}
		}
	}
	return 0
}

func snmp6UDPChecksumErrors(text []byte) uint64 {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == "Udp6InCsumErrors" {
			return number(f[1])
		}
	}
	return 0
}

// number is 0 for what is no number, as in a table's heading.
func number(b []byte) uint64 {
	n, _ := strconv.ParseUint(string(b), 10, 64)
	return n
}
