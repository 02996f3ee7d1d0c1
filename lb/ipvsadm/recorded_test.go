package ipvsadm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/golb/golb/lb"
)

// recording is what ipvsadm 1.31 (Debian 12) did with a command line: what it asked the
// kernel for, its netlink message being printed instead of sent, or how it failed.
// testdata holds every option with every command, every spelling and every bound, and
// lines of random options.
type recording struct {
	Args   []string `json:"args"`
	Kernel string   `json:"kernel"`
	Error  string   `json:"error"`
	Exit   int      `json:"exit"`
}

// recorder resolves names as the machine of the recordings did.
var recorder = Parser{
	LookupHost: func(name string) (netip.Addr, error) {
		if name == "localhost" {
			return netip.MustParseAddr("127.0.0.1"), nil
		}
		return netip.Addr{}, errors.New("no such host")
	},
	LookupPort: func(p lb.Protocol, name string) (uint16, error) {
		switch p.String() + " " + name {
		case "tcp http":
			return 80, nil
		case "tcp domain", "udp domain":
			return 53, nil
		case "udp ntp":
			return 123, nil
		}
		return 0, errors.New("no such service")
	},
}

func TestAgreesWithRecordingsOfIpvsadm(t *testing.T) {
	f, err := os.Open("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var want recording
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		got := recording{Args: want.Args}
		cmd, err := recorder.Parse(want.Args)
		var fault *Error
		switch {
		case errors.As(err, &fault):
			got.Error, got.Exit = fault.Message, fault.Exit
		case err != nil:
			t.Fatalf("%q: %T", want.Args, err)
		default:
			got.Kernel = request(&cmd)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q\n got %q %d %s\nwant %q %d %s", want.Args, got.Kernel, got.Exit, got.Error, want.Kernel, want.Exit, want.Error)
		}
	}
	if n < 1000 {
		t.Errorf("%d recordings, want 1000 and more", n)
	}
}

// request is what the kernel is asked for, in the words of the recordings.
func request(c *Command) string {
	s, r, d := &c.Service, &c.Server, &c.Daemon
	switch c.Op {
	case AddService:
		return "NEW_SERVICE" + service(s) + settings(s)
	case EditService:
		return "SET_SERVICE" + service(s) + settings(s)
	case DeleteService:
		return "DEL_SERVICE" + service(s)
	case Clear:
		return "FLUSH"
	case AddServer:
		return "NEW_DEST" + service(s) + server(r) + details(r)
	case EditServer:
		return "SET_DEST" + service(s) + server(r) + details(r)
	case DeleteServer:
		return "DEL_DEST" + service(s) + server(r)
	case Zero:
		return "ZERO" + ofService(c)
	case List:
		switch {
		case c.List.Connections:
			return ""
		case c.List.Timeouts:
			return "GET_CONFIG"
		case c.List.Daemon:
			return "GET_DAEMON"
		}
		return "GET_SERVICE" + ofService(c)
	case Save:
		return "GET_SERVICE"
	case SetTimeouts:
		return fmt.Sprintf("SET_CONFIG %d %d %d", int(c.Timeouts[0].Seconds()), int(c.Timeouts[1].Seconds()), int(c.Timeouts[2].Seconds()))
	case StartDaemon:
		group := ""
		if d.Group.IsValid() {
			group = d.Group.String()
		}
		return fmt.Sprintf("NEW_DAEMON state=%d if=%s id=%d maxlen=%d group=%s port=%d ttl=%d", state(d), d.Interface, d.SyncID, d.MaxLength, group, d.Port, d.TTL)
	case StopDaemon:
		return fmt.Sprintf("DEL_DAEMON state=%d if=%s id=%d", state(d), d.Interface, d.SyncID)
	}
	return ""
}

func ofService(c *Command) string {
	if !c.HasService {
		return ""
	}
	return service(&c.Service)
}

func state(d *Daemon) int {
	if d.Backup {
		return 2
	}
	return 1
}

func service(s *Service) string {
	family := 4
	if s.IPv6 {
		family = 6
	}
	if s.Mark != 0 {
		return fmt.Sprintf(" af=%d mark=%d", family, s.Mark)
	}
	return fmt.Sprintf(" af=%d proto=%d addr=%s port=%d", family, s.Protocol, s.Address, s.Port)
}

// The kernel's bits (IP_VS_SVC_F_*).
const (
	flagPersistent = 1
	flagOnePacket  = 4
	flagSched1     = 8
)

func settings(s *Service) string {
	flags := flagSched1 * int(s.Flags)
	if s.Persistence != 0 {
		flags |= flagPersistent
	}
	if s.OnePacket {
		flags |= flagOnePacket
	}
	mask := s.Mask.String()
	if s.IPv6 {
		bits, _ := s.Prefix()
		mask = fmt.Sprintf("/%d", bits)
	}
	return fmt.Sprintf(" sched=%s pe=%s flags=%#x timeout=%d mask=%s", s.Scheduler, s.Engine, flags, int(s.Persistence.Seconds()), mask)
}

func server(r *Server) string { return fmt.Sprintf(" -> addr=%s port=%d", r.Address, r.Port) }

func details(r *Server) string {
	return fmt.Sprintf(" method=%s weight=%d u=%d l=%d tun=%d,%d,%d", strings.ToLower(r.Method.String()), r.Weight,
		r.UpperThreshold, r.LowerThreshold, r.Tunnel.Type, r.Tunnel.Port, r.Tunnel.Checksum)
}
