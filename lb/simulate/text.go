package simulate

import (
	"fmt"
	"io"
	"strings"
)

// Text is the Format for people: each event, what was decided, and the packets
// before and after in the manner of tcpdump -v.
func Text(w io.Writer, _ []byte, sc *Scenario, played []Played) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", sc.Name)
	for _, s := range sc.Sysctl {
		fmt.Fprintf(&b, "  sysctl %s\n", s)
	}
	for _, s := range sc.Setup {
		fmt.Fprintf(&b, "  ipvsadm %s\n", s)
	}
	for i := range played {
		played[i].text(&b, i)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *Played) text(b *strings.Builder, n int) {
	fmt.Fprintf(b, "%4d %s\n", n, e.title())
	for _, d := range e.Dests {
		fmt.Fprintf(b, "       %s -> %s %s weight %d, %d active, %d inactive\n",
			d.Service, d.Real, d.Fwd, d.Weight, d.Active, d.Inactive)
	}
	if e.Error != "" {
		fmt.Fprintf(b, "       refused: %s\n", e.Error)
	}
	if e.In == nil {
		return
	}
	fmt.Fprintf(b, "   in  %s\n", describe(e.In))
	fmt.Fprintf(b, "       %s\n", e.decision())
	for _, f := range e.Frames {
		fmt.Fprintf(b, "   out > %s %s\n", f.Dst, describe(f.Packet))
	}
}

// title is the event in a few words.
func (e *Event) title() string {
	switch e.Type {
	case "cmd":
		return "ipvsadm " + e.Command
	case "sleep":
		return fmt.Sprintf("sleep %g s", e.Seconds)
	case "dump":
		return "dump"
	case "raw":
		if e.Note != "" {
			return e.Note
		}
		return "raw packet"
	}
	from := "from the client"
	if e.Key != "" {
		from = "from the server"
	}
	return e.Type + " " + from
}

// decision returns the text of what golb did with a packet.
func (e *Played) decision() string {
	var parts []string
	if c := e.Connection; c != nil {
		parts = append(parts, fmt.Sprintf("connection of %s with %s: server %s by %s, %s, expires in %.0f s",
			c.Client, c.VIP, c.Server, methodName(c.Method), c.State, c.Expires.Seconds()))
	} else {
		parts = append(parts, "no connection")
	}
	if e.Reason != "" {
		parts = append(parts, "not forwarded: "+e.Reason)
	}
	if len(e.Frames) == 0 {
		parts = append(parts, "nothing sent")
	}
	return strings.Join(parts, "; ")
}
