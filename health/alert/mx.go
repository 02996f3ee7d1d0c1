package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// maxExchangers is how many of a domain's exchangers are tried.
const maxExchangers = 5

// exchangerTime bounds the attempt at one of them, so that there is time for the next.
const exchangerTime = 10 * time.Second

// ByDomain returns one Mail for each domain of To, in alphabetical order: each fails, and is
// tried again, by itself. Where Server is set, it returns c alone.
func (c *Mail) ByDomain() []*Mail {
	if c.Server != "" {
		return []*Mail{c}
	}
	groups := map[string][]string{}
	for _, a := range c.To {
		d := domainOf(a)
		groups[d] = append(groups[d], a)
	}
	var list []*Mail
	for _, d := range slices.Sorted(maps.Keys(groups)) {
		one := *c
		one.To = groups[d]
		list = append(list, &one)
	}
	return list
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndex(address, "@")+1:])
}

// exchange sends a mail to recipients of one domain, by the first of its exchangers that can
// be reached and does not refuse it.
func (c *Mail) exchange(ctx context.Context, text []byte) error {
	hosts, err := c.exchangers(ctx, domainOf(c.To[0]))
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range hosts[:min(len(hosts), maxExchangers)] {
		limit, cancel := context.WithTimeout(ctx, exchangerTime)
		err := c.by(limit, net.JoinHostPort(h, "25"), text)
		cancel()
		if _, some := errors.AsType[*PartlySent](err); err == nil || some {
			return err
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// exchangers returns the hosts that take mail for a domain, the preferred ones first (RFC
// 5321 §5.1).
func (c *Mail) exchangers(ctx context.Context, domain string) ([]string, error) {
	if literal, ok := strings.CutPrefix(domain, "["); ok {
		return []string{strings.TrimPrefix(strings.TrimSuffix(literal, "]"), "ipv6:")}, nil
	}
	lookup := c.LookupMX
	if lookup == nil {
		lookup = net.DefaultResolver.LookupMX
	}
	list, err := lookup(ctx, domain)
	if gone, ok := errors.AsType[*net.DNSError](err); ok && gone.IsNotFound {
		return []string{domain}, nil // the implicit MX: its own addresses
	}
	if err != nil && len(list) == 0 {
		return nil, fmt.Errorf("mail: mail exchangers of %s: %w", domain, err)
	}
	slices.SortStableFunc(list, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	var hosts []string
	for _, mx := range list {
		if host := strings.TrimSuffix(mx.Host, "."); host != "" {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 { // RFC 7505
		return nil, fmt.Errorf("mail: %s takes no mail, by its MX record", domain)
	}
	return hosts, nil
}
