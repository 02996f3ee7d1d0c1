package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golb/golb/lb"
)

// Connection is an entry of the connection table: a connection, or a persistence
// template.
type Connection struct {
	Protocol string  `json:"protocol"` // "ip" for a template of a mark
	Client   string  `json:"client"`   // address:port; of a template a prefix, or with engine sip a hash of the Call-ID
	VIP      string  `json:"vip"`      // address:port; of a template of a mark the mark, as an IPv4 address
	Server   string  `json:"server"`
	Method   string  `json:"method"`
	State    string  `json:"state"` // as ipvsadm -Lc prints it
	Template bool    `json:"template"`
	Expires  float64 `json:"expires_s"` // seconds until it is dropped, if nothing comes
	Packets  uint16  `json:"packets"`   // from the client, modulo 65,536
}

func connectionOf(c *lb.Connection) Connection {
	protocol, from := "ip", c.Client.String()
	if c.Protocol != 0 {
		protocol = c.Protocol.String()
	}
	switch {
	case c.Call != "":
		from = c.Call
	case c.Template:
		from = c.Clients.String()
	}
	return Connection{
		Protocol: protocol, Client: from, VIP: c.VIP.String(), Server: c.Server.String(), Method: c.Method.String(),
		State: c.State, Template: c.Template, Expires: c.Expires.Seconds(), Packets: c.Packets,
	}
}

// Filter says which connections are meant, in words. Each empty field means any.
type Filter struct {
	Protocol string // tcp, udp or sctp
	Client   string // address or prefix
	VIP      string // address or address:port
	Server   string // address or address:port
	// Templates means persistence templates in place of connections.
	Templates bool
}

func (f *Filter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"protocol": f.Protocol, "client": f.Client, "vip": f.VIP, "server": f.Server} {
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
		case "templates":
			if templates, err = strconv.ParseBool(value); err != nil {
				err = fmt.Errorf("%q: allowed: true or false", value)
			}
		default:
			err = fmt.Errorf("unknown; allowed: protocol, client, vip, server, templates")
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

// list writes the connections that a query means, an object a line as they are found:
// there may be millions.
func list(b *lb.Balancer, w http.ResponseWriter, r *http.Request) {
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
		if n++; n%1000 == 1 { // of a reader that is slow, not of one that is gone
			_ = control.SetWriteDeadline(time.Now().Add(patience))
		}
		return enc.Encode(connectionOf(&c)) == nil
	})
}

// Ended is how many connections or templates were ended.
type Ended struct {
	Ended int `json:"ended"`
}

// end ends the connections or templates that a query means.
func end(b *lb.Balancer, w http.ResponseWriter, r *http.Request) {
	f, templates, err := filterOf(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	if templates {
		answer(w, http.StatusOK, Ended{b.DeleteTemplates(f)})
		return
	}
	answer(w, http.StatusOK, Ended{b.DeleteConnections(f)})
}
