package lab

// DecapConfig configures [Host.Decapsulate]. Its zero value is the default.
type DecapConfig struct {
	// GUEPort is the UDP port for GUE; 6080 where 0.
	GUEPort uint16
}

func (c DecapConfig) guePort() uint16 {
	if c.GUEPort == 0 {
		return 6080
	}
	return c.GUEPort
}

// DecapStats counts packets since [Host.Decapsulate]. The first three are those handed to the host's stack.
type DecapStats struct {
	IPIP, GRE, GUE uint64
	// Unfinished counts, among all that were well formed, packets whose inner TCP or UDP checksum was left for hardware to finish. Between
	// veths that is usual and harmless; on a wire it would be lost.
	Unfinished uint64
	// UnfinishedGRE counts packets whose GRE checksum was left for hardware to compute, the field 0, as kernels leave it. A kernel's
	// own device is told so, a raw socket is not; that such a packet is intact is taken on trust.
	UnfinishedGRE uint64
	// Largest is the size in bytes of the largest well-formed inner packet.
	Largest uint64
	// Malformed counts packets that are not what they say: truncated, of another version, with reserved bits set.
	Malformed uint64
	// BadChecksum counts packets with a wrong outer checksum: GRE's, or UDP's as the host's kernel counts it.
	BadChecksum uint64
	// Lost counts packets that found a socket's buffer full, and those with a wrong UDP checksum.
	Lost uint64
	// Refused counts inner packets that the kernel did not take.
	Refused uint64
}

// Errors is the number of packets that were not handed to the host's stack, those with a wrong UDP checksum counted twice.
func (s DecapStats) Errors() uint64 { return s.Malformed + s.BadChecksum + s.Lost + s.Refused }
