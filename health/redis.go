package health

import (
	"context"
	"fmt"
	"net/netip"
)

// Redis sends PING and expects PONG (RESP, the Redis serialization protocol).
type Redis struct {
	Addr            netip.AddrPort
	Login, Password string // for AUTH; Login is for ACLs (Redis 6), Password "" does not log in
	TLS             bool
	TLSOptions
	Dial DialFunc
}

// Check logs in, as set, and sends PING.
func (c *Redis) Check(ctx context.Context) error {
	return c.reach(ctx, c.Password != "", c.check)
}

func (c *Redis) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	request := func(want string, args ...string) func() error {
		return func() error {
			array := fmt.Sprintf("*%d\r\n", len(args))
			for _, w := range args {
				array += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
			}
			if err := s.send(args[0], array); err != nil {
				return err
			}
			answer, err := s.readLine(args[0])
			if err == nil && answer != want {
				err = mismatch(args[0], answer, want)
			}
			return err
		}
	}
	auth := []string{"AUTH", c.Login, c.Password}
	if c.Login == "" {
		auth = []string{"AUTH", c.Password}
	}
	return runSteps([]step{
		{on: c.TLS, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: c.Password != "", do: request("+OK", auth...)},
		{on: true, do: request("+PONG", "PING")},
	})
}

// RedisType returns the type of [Redis].
func RedisType() Type {
	return Type{Name: "redis", About: "Redis PING", Transport: "tcp", Port: 6379,
		Bind: func(k *Keys, p Peer) Checker {
			c := &Redis{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.String(&c.Login, "login", "", "name to log in with; only where there are ACLs")
			k.Secret(&c.Password, "password,passwd", "password to log in with")
			k.Bool(&c.TLS, "tls", "use TLS from the first byte")
			c.bind(k)
			return c
		}}
}
