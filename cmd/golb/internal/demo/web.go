package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
)

// serverHeader names the server that answered.
const serverHeader = "X-Server"

// webServer is one real HTTP server on a host with its own kernel stack.
type webServer struct {
	serverPlan
	host   *lab.Host
	cable  *lab.Link
	client netip.Addr

	http   *http.Server
	served chan error
	conns  atomic.Int64 // connections of the client; those of health checks are golb's
}

func (w *webServer) start(ctx context.Context) error {
	any := netip.IPv4Unspecified()
	if w.addr.Addr().Is6() {
		any = netip.IPv6Unspecified()
	}
	ln, err := w.host.Listen(ctx, "tcp", netip.AddrPortFrom(any, httpPort).String())
	if err != nil {
		return err
	}
	server, served := &http.Server{Handler: w.handler(), ConnState: w.count, ReadHeaderTimeout: 10 * time.Second}, make(chan error, 1)
	w.http, w.served = server, served
	go func() { served <- server.Serve(ln) }()
	return nil
}

// stop closes every connection and returns when the server has ended.
func (w *webServer) stop() error {
	if w.http == nil {
		return nil
	}
	err := w.http.Close()
	w.http = nil
	if e := <-w.served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func (w *webServer) count(c net.Conn, state http.ConnState) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err == nil && state == http.StateNew && from.Addr().Unmap() == w.client {
		w.conns.Add(1)
	}
}

func (w *webServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s (%s) answers %s as %s\n", w.name, w.addr.Addr(), r.RemoteAddr, r.Host)
	})
	mux.HandleFunc("GET /data", func(rw http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
		if err != nil || n < 0 {
			http.Error(rw, "bytes: "+r.URL.Query().Get("bytes")+": want a number", http.StatusBadRequest)
			return
		}
		rw.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyBuffer(onlyWriter{rw}, newPattern(n), make([]byte, copyBuffer)) // fails where the client has gone
	})
	mux.HandleFunc("POST /sum", func(rw http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.CopyBuffer(onlyWriter{sum}, r.Body, make([]byte, copyBuffer)); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(rw, "%x", sum.Sum(nil))
	})
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set(serverHeader, w.name)
		mux.ServeHTTP(rw, r)
	})
}

// onlyWriter hides a writer's ReadFrom, so that copies use the buffer they are given.
type onlyWriter struct{ io.Writer }
