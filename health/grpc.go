package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// GRPC calls the grpc.health.v1.Health service of a server (the gRPC health checking
// protocol); the server, or one of its services, must be SERVING.
type GRPC struct {
	Addr    netip.AddrPort
	Service string // to ask about; "" is the server as a whole
	Host    string // :authority; "" means Addr. Its name is also the default of ServerName
	TLS     bool
	TLSOptions
	Dial DialFunc
}

// maxGRPC bounds the message of the answer in bytes; a HealthCheckResponse has 2.
const maxGRPC = 1024

// Check calls Health.Check once, on a connection of its own.
func (c *GRPC) Check(ctx context.Context) error {
	return c.reach(ctx, true, c.check)
}

func (c *GRPC) check(ctx context.Context) error {
	u := &url.URL{Scheme: "http", Host: c.Addr.String(), Path: "/grpc.health.v1.Health/Check"}
	if c.TLS {
		u.Scheme = "https"
	}
	message := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(c.Service))) // protobuf: field 1, a string
	message = append(message, c.Service...)
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) // 0: not compressed
	body = append(body, message...)
	req := &http.Request{Method: http.MethodPost, URL: u, Host: c.Host, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}},
		Body:   io.NopCloser(bytes.NewReader(body))}
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	if c.TLS {
		if err := s.startTLS(c.named(c.Host).config(c.Addr.Addr(), "h2")); err != nil {
			return err
		}
	}
	resp, err := s.request(req, s.http2)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("grpc: got HTTP %s, want 200", resp.Status)
	}
	if err := grpcStatus(resp.Header); err != nil { // an answer of trailers only
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, head); isClosed(err) {
		if err := grpcStatus(resp.Trailer); err != nil {
			return err
		}
		return errors.New("grpc: answer without a message")
	} else if err != nil {
		return fmt.Errorf("grpc: answer: %w", httpReason(ctx, err))
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || n > maxGRPC {
		return fmt.Errorf("grpc: got a message of %d bytes, compressed %d, want at most %d, not compressed", n, head[0], maxGRPC)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(resp.Body, answer); err != nil {
		return fmt.Errorf("grpc: answer: %w", httpReason(ctx, err))
	}
	return grpcServing(answer)
}

// grpcStatus is an error where h has a grpc-status other than 0, OK.
func grpcStatus(h http.Header) error {
	code := h.Get("Grpc-Status")
	if code == "" || code == "0" {
		return nil
	}
	names := map[string]string{"5": "NOT_FOUND", "7": "PERMISSION_DENIED", "12": "UNIMPLEMENTED", "14": "UNAVAILABLE", "16": "UNAUTHENTICATED"}
	return fmt.Errorf("grpc: got status %s %s %s, want 0", strconv.Quote(code), names[code], quote(h.Get("Grpc-Message")))
}

// grpcServing is an error unless a HealthCheckResponse has SERVING in its field 1.
func grpcServing(message []byte) error {
	status := uint64(0) // protobuf: the default of a field that is left out
	for b := message; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag&7 != 0 {
			return mismatch("grpc", message, "a HealthCheckResponse")
		}
		value, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return mismatch("grpc", message, "a HealthCheckResponse")
		}
		if tag>>3 == 1 {
			status = value
		}
		b = b[n+m:]
	}
	names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if status == 1 {
		return nil
	}
	if status < uint64(len(names)) {
		return fmt.Errorf("grpc: got %s, want SERVING", names[status])
	}
	return fmt.Errorf("grpc: got status %d, want SERVING", status)
}

// GRPCType returns the type of [GRPC].
func GRPCType() Type {
	return Type{Name: "grpc", About: "gRPC health service", Transport: "tcp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &GRPC{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.String(&c.Service, "service", "", "service to ask about; the server as a whole where not given")
			k.String(&c.Host, "host", p.Name, ":authority; the address where not given. Its name is also the default of sni")
			k.Bool(&c.TLS, "tls", "use TLS from the first byte")
			c.bind(k)
			return c
		}}
}
