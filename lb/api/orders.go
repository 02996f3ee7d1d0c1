package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// Option is an option of Handler.
type Option func(*handler)

// LogOrders logs what clients change, and who they are.
func LogOrders(log *slog.Logger) Option { return func(h *handler) { h.log = log } }

// handler serves a balancer.
type handler struct {
	Balancer
	log *slog.Logger
}

// logOrder logs an order that was carried out.
func (h *handler) logOrder(r *http.Request, message string, attrs ...slog.Attr) {
	h.log.LogAttrs(r.Context(), slog.LevelInfo, message, append(attrs, slog.String("by", clientOf(r)))...)
}

// clientOf says who sent a request.
func clientOf(r *http.Request) string {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return p.String()
	}
	return r.RemoteAddr
}

// peer is the process at the other end of a Unix socket.
type peer struct {
	uid     uint32
	pid     int32  // 0 where it is not in golb's PID namespace
	command string // its name; "" where that cannot be read
}

func (p peer) String() string {
	s := fmt.Sprintf("uid %d, pid %d", p.uid, p.pid)
	if p.command != "" {
		s += " (" + p.command + ")"
	}
	return s
}

type peerKey struct{}

// withPeer notes who is at the other end of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := peerOf(c); ok {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}
