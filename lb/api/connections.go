package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golb/golb/lb"
)

// Filter chooses connections; its fields are strings, as people write them. An empty field
// matches any.
type Filter struct {
	Protocol string // tcp, udp or sctp
	Client   string // address or prefix
	VIP      string // address or address:port
	Server   string // address or address:port
	Service  string // its name
	// Templates chooses persistence templates in place of connections.
	Templates bool
}

func (f *Filter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"protocol": f.Protocol, "client": f.Client, "vip": f.VIP, "server": f.Server, "service": f.Service} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Templates {
		q.Set("templates", "true")
	}
	return q
}

// filterOf reads a query. The error names the field.
func filterOf(q url.Values) (f lb.ConnectionFilter, templates bool, err error) {
	for name, values := range q {
		value := values[0]
		switch name {
		case "protocol":
			err = f.Protocol.UnmarshalText([]byte(value))
		case "client":
			f.Client, err = prefix(value)
		case "vip":
			f.VIP, err = addrPort(value)
		case "server":
			f.Server, err = addrPort(value)
		case "service":
			f.Service = value
		case "templates":
			if templates, err = strconv.ParseBool(value); err != nil {
				err = fmt.Errorf("%q: allowed: true or false", value)
			}
		default:
			err = fmt.Errorf("unknown; allowed: protocol, client, vip, server, service, templates")
		}
		if err != nil {
			return f, templates, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, templates, nil
}

func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q: allowed: an address or a prefix", s)
	}
	return p, nil
}

func addrPort(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	p, err := netip.ParseAddrPort(s)
	if err != nil {
		return p, fmt.Errorf("%q: allowed: an address or address:port", s)
	}
	return p, nil
}

// listConnections writes the connections that a query chooses, one object per line, as they
// are found: there may be millions.
func listConnections(b Balancer, w http.ResponseWriter, r *http.Request) {
	f, templates, err := filterOf(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, control, n := json.NewEncoder(w), http.NewResponseController(w), 0
	b.Connections(func(c lb.Connection) bool {
		if c.Template != templates || c.Void || !f.Match(&c) {
			return true
		}
		if n++; n%1000 == 1 { // a slow reader gets more time, one that has gone does not
			_ = control.SetWriteDeadline(time.Now().Add(patience))
		}
		return enc.Encode(c) == nil
	})
}

// Deleted is the number of connections or templates that were ended.
type Deleted struct {
	Deleted int `json:"deleted"`
}

// deleteConnections ends the connections or templates that a query chooses.
func (h *handler) deleteConnections(w http.ResponseWriter, r *http.Request) {
	f, templates, err := filterOf(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	what, do := "connections", h.DeleteConnections
	if templates {
		what, do = "templates", h.DeleteTemplates
	}
	n := do(f)
	h.logOrder(r, what+" ended", slog.Int("number", n), slog.String("filter", r.URL.RawQuery))
	answer(w, http.StatusOK, Deleted{n})
}
