// Package hostlock keeps two processes of one network namespace from balancing the same VIP
// on the same interface: both would take every packet.
//
// A VIP is held by a listening Unix socket in the abstract namespace, which belongs to the
// network namespace, whose name has the interface's index, which outlasts renames, and the
// VIP. The kernel ends it with its process, so that a crash leaves nothing to clean up.
// Any process of the namespace can take such a name: an error tells which one has.
package hostlock

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// VIP is an address, or a prefix of them, on an interface.
type VIP struct {
	Index  int // of the interface
	Prefix netip.Prefix
}

// TakenError is the error of Hold where another process holds a VIP, or one that it is part of.
type TakenError struct {
	VIP     VIP
	PID     int    // 0 where the process has none in this PID namespace, as in a container
	Command string // its command line; "" where that cannot be read
	Self    bool   // it is this process
}

func (e *TakenError) Error() string {
	vip := e.VIP.Prefix.String()
	if e.VIP.Prefix.IsSingleIP() {
		vip = e.VIP.Prefix.Addr().String()
	}
	return fmt.Sprintf("%s is balanced on this host already, by %s", vip, e.Holder())
}

// Holder names the process.
func (e *TakenError) Holder() string {
	switch {
	case e.Self:
		return "this process"
	case e.PID == 0:
		return "a process of another PID namespace, as of a container that shares this network"
	case e.Command == "":
		return fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("process %d (%s)", e.PID, e.Command)
}

// prefix begins the names of the sockets; @ stands for the zero byte of abstract ones.
const prefix = "@golb/vip/"

// name is the name of the socket that holds v.
func (v VIP) name() string { return prefix + strconv.Itoa(v.Index) + "/" + v.Prefix.String() }

// parse reads a name.
func parse(name string) (v VIP, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	index, vip, found := strings.Cut(rest, "/")
	if !ok || !found {
		return v, false
	}
	var err error
	if v.Index, err = strconv.Atoi(index); err != nil {
		return v, false
	}
	v.Prefix, err = netip.ParsePrefix(vip)
	return v, err == nil
}

func (v VIP) overlaps(other VIP) bool {
	return v.Index == other.Index && v.Prefix.Overlaps(other.Prefix)
}
