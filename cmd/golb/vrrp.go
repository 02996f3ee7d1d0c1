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
		Long: `Print the adverts of VRRP 2 and 3 on the wire of an interface, until SIGINT or
SIGTERM, or those in a capture (pcap, as tcpdump -w writes it; FILE - is standard
input): each with its fields, and the reason where golb would drop it.

A reason is one that the advert alone shows: whether it fits an instance, or has the
right password or key, depends on that instance. The time is in seconds since the
start, or since the first packet of the capture.

Watching an interface needs CAP_NET_RAW.`,
		Example: `  golb vrrp watch --interface eth0
  golb vrrp watch --read capture.pcap --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (ifname == "") == (file == "") {
				return usageError{errors.New("vrrp watch: allowed: one of --interface IF and --read FILE")}
			}
			print := printAdvert
			if asJSON {
				print = printAdvertJSON
			}
			if file != "" {
				return readAdverts(cmd, file, print)
			}
			return watchAdverts(cmd, ifname, print)
		},
	}
	cmd.Flags().StringVar(&ifname, "interface", "", "print the adverts on the wire of this `INTERFACE`")
	cmd.Flags().StringVar(&file, "read", "", "print the adverts in this capture `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// printPacket prints a packet that is an advert, and ignores any other.
type printPacket func(w io.Writer, at time.Duration, packet []byte) error

// advertJSON is an advert as --json prints it. Fields are never removed or renamed.
type advertJSON struct {
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

// decodeAdvert decodes an IP packet; ok is false where it is no advert.
func decodeAdvert(at time.Duration, packet []byte) (s advertJSON, ok bool) {
	a, reason := vrrp.Decode(packet)
	if reason == vrrp.ReasonNotVRRP || !a.Src.IsValid() {
		return advertJSON{}, false
	}
	s = advertJSON{
		At: at.Seconds(), Src: a.Src, Dst: a.Dst, Version: a.Version, VRID: a.VRID, Priority: a.Priority,
		IntervalMS: a.Interval.Milliseconds(), Addresses: a.Addresses,
		Auth: a.Auth(), Checksum: a.Checksum.String(), Valid: reason == vrrp.ReasonNone, Reason: reason.String(),
	}
	if s.Addresses == nil {
		s.Addresses = []netip.Addr{}
	}
	return s, true
}

func printAdvertJSON(w io.Writer, at time.Duration, packet []byte) error {
	s, ok := decodeAdvert(at, packet)
	if !ok {
		return nil
	}
	return json.NewEncoder(w).Encode(s)
}

func printAdvert(w io.Writer, at time.Duration, packet []byte) error {
	s, ok := decodeAdvert(at, packet)
	if !ok {
		return nil
	}
	var addrs []string
	for _, a := range s.Addresses {
		addrs = append(addrs, a.String())
	}
	result := "ok"
	if !s.Valid {
		result = "dropped: " + s.Reason
	}
	_, err := fmt.Fprintf(w, "%10.3f  %s > %s  version %d  VRID %d  priority %d  every %v  [%s]  auth %s  checksum %s  %s\n",
		s.At, s.Src, s.Dst, s.Version, s.VRID, s.Priority, time.Duration(s.IntervalMS)*time.Millisecond,
		strings.Join(addrs, " "), s.Auth, s.Checksum, result)
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
func readAdverts(cmd *cobra.Command, file string, print printPacket) error {
	in, err := openInput(cmd, file)
	if err != nil {
		return err
	}
	defer in.Close()
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
		if err := print(cmd.OutOrStdout(), at.Sub(first), packet); err != nil {
			return err
		}
	}
}

// watchAdverts prints the adverts on a wire until a signal ends it.
func watchAdverts(cmd *cobra.Command, ifname string, print printPacket) error {
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
		if err := print(cmd.OutOrStdout(), time.Since(begin), ipPacket(buf[:n])); err != nil {
			return err
		}
	}
}
