package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/arp/vrrp"
)

func newVRRPCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vrrp",
		Short: "Look at VRRP on a wire",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVRRPWatchCommand())
	return cmd
}

func newVRRPWatchCommand() *cobra.Command {
	var ifname, file string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "watch {--interface IF | --read FILE}",
		Short: "Print the VRRP adverts on a wire",
		Long: `Print the adverts of VRRP 2 and 3 that are on the wire of an interface, until SIGINT
or SIGTERM, or those in a capture (pcap, as tcpdump -w writes it; FILE - is standard
input): each with its fields, and whether a golb would take it, or why not.

That is said as far as an advert alone shows it: whether it fits an instance, or is
authenticated with the right password or key, depends on that instance. The time is
in seconds since the begin, or since the first packet of the capture.

Watching an interface needs CAP_NET_RAW.`,
		Example: `  golb vrrp watch --interface eth0
  golb vrrp watch --read capture.pcap --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (ifname == "") == (file == "") {
				return usageError{errors.New("vrrp watch: allowed: one of --interface IF and --read FILE")}
			}
			show := showAdvert
			if asJSON {
				show = writeAdvert
			}
			if file != "" {
				return readAdverts(cmd, file, show)
			}
			return watchAdverts(cmd, ifname, show)
		},
	}
	cmd.Flags().StringVar(&ifname, "interface", "", "print what is on the wire of this `INTERFACE`")
	cmd.Flags().StringVar(&file, "read", "", "print what is in this capture `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return cmd
}

// showFrame prints a frame that is an advert, and nothing else.
type showFrame func(w io.Writer, at time.Duration, packet []byte) error

// seenAdvert is an advert as --json has it. Fields are never removed or renamed.
type seenAdvert struct {
	At         float64      `json:"at"` // seconds
	Src        netip.Addr   `json:"src"`
	Dst        netip.Addr   `json:"dst"`
	Version    uint8        `json:"version"`
	VRID       uint8        `json:"vrid"`
	Priority   uint8        `json:"priority"`
	IntervalMS int64        `json:"interval_ms"`
	Addresses  []netip.Addr `json:"addresses"`
	Auth       string       `json:"auth"`
	Checksum   string       `json:"checksum"`
	Valid      bool         `json:"valid"`
	Reason     string       `json:"reason"`
}

// seen decodes an IP packet; false is that it is no advert.
func seen(at time.Duration, packet []byte) (seenAdvert, bool) {
	a, reason := vrrp.Decode(packet)
	if reason == vrrp.ReasonNotVRRP || !a.Src.IsValid() {
		return seenAdvert{}, false
	}
	s := seenAdvert{
		At: at.Seconds(), Src: a.Src, Dst: a.Dst, Version: a.Version, VRID: a.VRID, Priority: a.Priority,
		IntervalMS: a.Interval.Milliseconds(), Addresses: a.Addresses,
		Auth: a.Auth(), Checksum: a.Checksum.String(), Valid: reason == vrrp.ReasonNone, Reason: reason.String(),
	}
	if s.Addresses == nil {
		s.Addresses = []netip.Addr{}
	}
	return s, true
}

func writeAdvert(w io.Writer, at time.Duration, packet []byte) error {
	s, ok := seen(at, packet)
	if !ok {
		return nil
	}
	return json.NewEncoder(w).Encode(s)
}

func showAdvert(w io.Writer, at time.Duration, packet []byte) error {
	s, ok := seen(at, packet)
	if !ok {
		return nil
	}
	var addrs []string
	for _, a := range s.Addresses {
		addrs = append(addrs, a.String())
	}
	verdict := "ok"
	if !s.Valid {
		verdict = "dropped: " + s.Reason
	}
	_, err := fmt.Fprintf(w, "%10.3f  %s > %s  version %d  VRID %d  priority %d  every %v  [%s]  auth %s  checksum %s  %s\n",
		s.At, s.Src, s.Dst, s.Version, s.VRID, s.Priority, time.Duration(s.IntervalMS)*time.Millisecond,
		strings.Join(addrs, " "), s.Auth, s.Checksum, verdict)
	return err
}

// ipPacket returns the IP packet in an Ethernet frame, without VLAN tags; nil where it
// has none.
func ipPacket(frame []byte) []byte {
	const (
		ipv4, ipv6        = 0x0800, 0x86dd
		customer, service = 0x8100, 0x88a8 // tags: IEEE 802.1Q
	)
	for at := 12; len(frame) >= at+2; at += 4 {
		switch binary.BigEndian.Uint16(frame[at:]) {
		case ipv4, ipv6:
			return frame[at+2:]
		case customer, service:
		default:
			return nil
		}
	}
	return nil
}

// readAdverts prints the adverts of a capture.
func readAdverts(cmd *cobra.Command, file string, show showFrame) error {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	p, err := newPcapReader(in)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var first time.Time
	for {
		at, packet, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if first.IsZero() {
			first = at
		}
		if err := show(cmd.OutOrStdout(), at.Sub(first), packet); err != nil {
			return err
		}
	}
}

// watchAdverts prints the adverts on a wire until a signal ends it.
func watchAdverts(cmd *cobra.Command, ifname string, show showFrame) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	wire, err := openVRRPWire(ifname)
	if err != nil {
		return fmt.Errorf("%s: %w", ifname, err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		wire.Close()
	}()
	defer func() { stop(); <-closed }()
	begin, buf := time.Now(), make([]byte, 64<<10)
	for {
		n, err := wire.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", ifname, err)
		}
		if err := show(cmd.OutOrStdout(), time.Since(begin), ipPacket(buf[:n])); err != nil {
			return err
		}
	}
}
