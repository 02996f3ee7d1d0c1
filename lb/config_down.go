package lb

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/golb/golb/lb/internal/dataplane"
)

// DownPolicy is what becomes of new connections to a service that is down.
type DownPolicy uint8

// The policies for a service that is down.
const (
	DownFallback DownPolicy = iota // they get the fallback; without one, the servers that are left
	DownRefuse                     // they are refused, also where there is a fallback
	// DownLastKnown distrusts the checks: the servers that failed last stay in the service.
	// These are the ones that failed so shortly before the last one that the cause may be
	// the same.
	DownLastKnown
)

var downPolicyNames = map[DownPolicy]string{DownFallback: "fallback", DownRefuse: "refuse", DownLastKnown: "last_known"}

// String returns the name in a config.
func (p DownPolicy) String() string { return nameOf(downPolicyNames, p, "when_down") }

// UnmarshalText reads a name in a config. Its error says what is allowed.
func (p *DownPolicy) UnmarshalText(b []byte) error {
	return parseName(downPolicyNames, p, b, "fallback, refuse or last_known")
}

func (v *validator) quorum(path string, s *Service) {
	const most = maxWeight * 1000
	if s.Quorum < 0 || s.Quorum > most {
		v.fail(path+".quorum", s.Quorum, "out of range", fmt.Sprintf("0 (as 1) to %d", most))
	}
	if s.Hysteresis < 0 || s.Hysteresis > 0 && s.Hysteresis >= max(s.Quorum, 1) {
		v.fail(path+".hysteresis", s.Hysteresis, "out of range", fmt.Sprintf("0 to less than quorum, %d", max(s.Quorum, 1)))
	}
	if _, ok := downPolicyNames[s.WhenDown]; !ok {
		v.fail(path+".when_down", s.WhenDown, "unknown policy", "fallback, refuse or last_known")
	}
	if s.CutFailed && s.Quiescent {
		v.fail(path+".cut_failed", s.CutFailed, "a quiescent service lets the connections of a failed server go on", "one of the two")
	}
}

// Fallback serves the new connections that no server takes: all of them while the service
// is down (see Service.Quorum), and those for which the scheduler finds no server, as where
// all are at their UpperThreshold. The zero value is none: they are refused. TCP and SCTP
// connections to the fallback go on when servers are back; those of UDP, which might never
// end, do not. Persistence does not remember the fallback.
type Fallback struct {
	// Server is one more server, which is never checked (keepalived's sorry_server). It
	// has no weight and no thresholds. The zero value is none.
	Server Server `yaml:"server"`
	// Page, in place of a server, has golb answer HTTP requests itself, with status 503 and
	// this body; DefaultPage stands for a body of golb's own. A text that begins with HTTP/
	// is the whole response, with status and header. At most 5360 bytes with the header.
	// golb keeps no state for it; AnswerRate limits the SYNs that it answers, and how often
	// the page is sent.
	Page string `yaml:"page"`
}

// DefaultPage is the value of Fallback.Page for a short page of golb's own, "Service
// unavailable".
const DefaultPage = "default"

const defaultPage = "<!DOCTYPE html>\n<title>Service unavailable</title>\n<h1>Service unavailable</h1>\n<p>Please try again in a moment.</p>\n"

// hasServer reports whether there is a fallback server.
func (f *Fallback) hasServer() bool { return f.Server.Address.IsValid() }

// response returns the HTTP response with the page; nil where there is no page.
func (f *Fallback) response() []byte {
	text := f.Page
	switch {
	case text == "":
		return nil
	case text == DefaultPage:
		text = defaultPage
	case strings.HasPrefix(text, "HTTP/"):
		return []byte(endHeaderLines(text))
	}
	kind := "text/plain"
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		kind = "text/html"
	}
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Retry-After: 10\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", kind, len(text), text)
}

// endHeaderLines ends the lines of a header with CR LF, where a config file has LF alone.
func endHeaderLines(text string) string {
	if strings.Contains(text, "\r\n") {
		return text
	}
	header, body, _ := strings.Cut(text, "\n\n")
	return strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n" + body
}

func (v *validator) page(path string, s *Service) {
	p := s.Fallback.response()
	switch {
	case p == nil:
	case s.Fallback.hasServer():
		v.fail(path, nil, "beside a fallback server", "either server or page")
	case !s.takes(TCP):
		v.fail(path, nil, "the service takes no tcp", "a page with tcp only")
	case len(p) > dataplane.MaxPage:
		v.fail(path, nil, fmt.Sprintf("%d bytes with its header", len(p)), fmt.Sprintf("up to %d", dataplane.MaxPage))
	}
}

func (v *validator) fallback(path string, s *Service) {
	v.page(path+".page", s)
	r := &s.Fallback.Server
	if !s.Fallback.hasServer() {
		if !reflect.ValueOf(*r).IsZero() {
			v.fail(path+".server.address", nil, "no address", "the fallback server's own")
		}
		return
	}
	path += ".server"
	v.server(path, s, r)
	if r.Weight != nil {
		v.fail(path+".weight", *r.Weight, "a fallback server has no weight", "none")
	}
	if r.State != "" {
		v.fail(path+".state", r.State, "a fallback server has no state", "none")
	}
	if r.UpperThreshold != 0 || r.LowerThreshold != 0 {
		v.fail(path, nil, "a fallback server has no thresholds", "none")
	}
	if r.hasChecks() {
		v.fail(path+".check", nil, "a fallback server is never checked", "none")
	}
	if r.Agent != (Agent{}) {
		v.fail(path+".agent", nil, "a fallback server has no agent", "none")
	}
	for i := range s.Servers {
		if o := &s.Servers[i]; o.addrPort(s) == r.addrPort(s) {
			v.fail(path+".address", r.addrPort(s), fmt.Sprintf("servers[%d] has the same address and port", i), "a server of its own")
		}
	}
}
