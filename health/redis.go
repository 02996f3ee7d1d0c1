package health

import (
	"context"
	"fmt"
	"net/netip"
)

// Redis sends PING and wants PONG (RESP, the Redis serialization protocol).
type Redis struct {
	Addr            netip.AddrPort
	Login, Password string // AUTH before; Login only with Redis 6 ACLs, Password "" does not log in
	TLS             bool
	TLSOptions
	Dial DialFunc
}

// Check logs in as far as it is told to, and pings.
func (c *Redis) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	ask := func(want string, words ...string) func() error {
		return func() error {
			request := fmt.Sprintf("*%d\r\n", len(words))
			for _, w := range words {
				request += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
			}
			if err := t.send(words[0], request); err != nil {
				return err
			}
			answer, err := t.line(words[0])
			if err == nil && answer != want {
				err = wanted(words[0], answer, want)
			}
			return err
		}
	}
	auth := []string{"AUTH", c.Login, c.Password}
	if c.Login == "" {
		auth = []string{"AUTH", c.Password}
	}
	return walk([]step{
		{on: c.TLS, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: c.Password != "", do: ask("+OK", auth...)},
		{on: true, do: ask("+PONG", "PING")},
	})
}

// RedisType is the registry's entry of [Redis].
func RedisType() Type {
	return Type{Name: "redis", About: "Redis PING", Transport: "tcp", Port: 6379,
		Bind: func(k *Keys, p Peer) Checker {
			c := &Redis{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.String(&c.Login, "login", "", "name to log in with; only where there are ACLs")
			k.Secret(&c.Password, "password,passwd", "password to log in with")
			k.Bool(&c.TLS, "tls", "TLS from the first byte")
			c.bind(k)
			return c
		}}
}
