package demo

import (
	"github.com/golb/golb/lb"

	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Result is what the demo measured. Its JSON form is what golb demo --json prints.
type Result struct {
	Mode    string         `json:"mode"`
	VIP     netip.Addr     `json:"vip"`
	Servers []ServerResult `json:"servers"`
	// Requests is the load: the servers' requests and those of them that failed.
	// Neither the two large transfers nor the requests during failover count.
	Requests int `json:"requests"`
	// Failed counts what should not have failed, whenever it was.
	Failed       int     `json:"failed"`
	UploadMbps   float64 `json:"upload_mbps"`   // 10^6 bit/s of payload
	DownloadMbps float64 `json:"download_mbps"` // 10^6 bit/s of payload
	// P50 and P99 are latencies in µs of requests with a connection each, from
	// before the connection to the last byte.
	P50      int64     `json:"p50_us"`
	P99      int64     `json:"p99_us"`
	KeptP50  int64     `json:"kept_alive_p50_us"` // the same on connections that are kept
	KeptP99  int64     `json:"kept_alive_p99_us"`
	Failover *Failover `json:"failover"`
	Errors   []string  `json:"errors,omitempty"` // the first few of those that Failed counts

	up, down  transfer
	forwarded uint64 // bytes that golb forwarded during both transfers
	drops     lb.Drops
	plans     []serverPlan
	errs      []error
}

// ServerResult is what one server did in the load.
type ServerResult struct {
	Name        string     `json:"name"`
	Address     netip.Addr `json:"address"`
	Weight      int        `json:"weight"`
	Requests    int        `json:"requests"`
	Connections int64      `json:"connections"` // that the server accepted on the VIP
	Bytes       int64      `json:"bytes"`       // of bodies, as the client got them
}

// Failover is what happened when a server was killed and brought back.
type Failover struct {
	Killed         string  `json:"killed"`
	Fault          string  `json:"fault"`           // one of Faults
	DetectedMS     int64   `json:"detected_ms"`     // from the kill until golb took the server out of service
	FailedRequests int     `json:"failed_requests"` // of those under way between the two, which is expected
	ReturnedMS     int64   `json:"returned_ms"`     // from the repair until golb took it back into service
	Phases         []Phase `json:"phases"`

	fault fault
	wrong []error // what should not have happened
}

// Phase is a time between two turning points of a failover.
type Phase struct {
	Name     string         `json:"name"`
	For      time.Duration  `json:"-"`
	MS       int64          `json:"ms"`
	Requests map[string]int `json:"requests"` // answered, by server, of those begun in the phase
	Failed   int            `json:"failed"`
	Slowest  int64          `json:"slowest_ms"` // of those answered
}

const errorsShown = 5

func newResult(mode string, s *site, short, kept []answer) *Result {
	r := &Result{Mode: mode, VIP: s.vip, plans: s.layout.servers}
	at := map[string]int{}
	for i, w := range s.servers {
		at[w.name] = i
		r.Servers = append(r.Servers, ServerResult{
			Name: w.name, Address: w.addr.Addr(), Weight: w.weight, Connections: w.conns.Load(),
		})
	}
	for _, answers := range [][]answer{short, kept} {
		for _, a := range answers {
			r.Requests++
			i, ok := at[a.server]
			switch {
			case a.err != nil:
				r.fail(a.err)
			case !ok:
				r.fail(fmt.Errorf("answered by %q, which is none of the servers", a.server))
			default:
				r.Servers[i].Requests++
				r.Servers[i].Bytes += a.bytes
			}
		}
	}
	r.P50, r.P99 = percentile(short, 50).Microseconds(), percentile(short, 99).Microseconds()
	r.KeptP50, r.KeptP99 = percentile(kept, 50).Microseconds(), percentile(kept, 99).Microseconds()
	return r
}

func (r *Result) fail(err error) {
	r.Failed++
	r.errs = append(r.errs, err)
	if len(r.Errors) < errorsShown {
		r.Errors = append(r.Errors, err.Error())
	}
}

func (r *Result) addTransfers(up, down transfer, forwarded uint64) {
	r.up, r.down, r.forwarded = up, down, forwarded
	r.UploadMbps, r.DownloadMbps = up.mbps(), down.mbps()
}

func (r *Result) addFailover(f *Failover) {
	r.Failover = f
	for _, err := range f.wrong {
		r.fail(err)
	}
}

// Err returns an error for requests that should not have failed; nil where there were none.
func (r *Result) Err() error {
	if r.Failed == 0 {
		return nil
	}
	return fmt.Errorf("demo: %d requests failed that should not have: %w",
		r.Failed, errors.Join(r.errs[:min(len(r.errs), errorsShown)]...))
}
