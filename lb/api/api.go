// Package api serves a running balancer to programs on its host, as JSON over HTTP on a Unix
// socket: its state, and changes to it. The JSON is that of package lb's types.
//
//	l, err := api.Listen(api.DefaultPath())
//	if err != nil {
//		return err
//	}
//	go api.Serve(ctx, l, api.Handler(balancer))
//
// A program with an HTTP server of its own mounts Handler there. The resources:
//
//	GET    /v1/health         up or down, and why, by server: [Health]
//	GET    /v1/services       services and servers with their counters: [lb.Stats]
//	POST   /v1/servers        weight, drain, halt: [ServerUpdate], answered by [UpdateResult]
//	GET    /v1/connections    the connection table, an [lb.Connection] per line
//	DELETE /v1/connections    ends connections or templates: [Deleted]
//
// The last two take a query of any of these parameters: protocol=tcp,
// client=192.0.2.0/24, vip=192.0.2.100:80, server=192.0.2.11, service=NAME, and
// templates=true for persistence templates in place of connections.
//
// A mistake is answered with a status of 4xx and {"error": "..."}; the text names the field.
package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/lb"
)

const (
	pathHealth      = "/v1/health"
	pathServices    = "/v1/services"
	pathServers     = "/v1/servers"
	pathConnections = "/v1/connections"
)

// Balancer is what the API needs of a balancer; *lb.Balancer is one.
type Balancer interface {
	Health() []lb.ServiceHealth
	Stats() lb.Stats
	SetWeight(name lb.ServerRef, weight int) error
	Drain(name lb.ServerRef, within time.Duration) error
	Halt(name lb.ServerRef) error
	Activate(name lb.ServerRef) error
	Connections(yield func(lb.Connection) bool)
	DeleteConnections(f lb.ConnectionFilter) int
	DeleteTemplates(f lb.ConnectionFilter) int
}

// Health is the health of all services and their servers.
type Health struct {
	Services []lb.ServiceHealth `json:"services"`
}

// Handler serves a balancer. It does not authenticate clients.
func Handler(b Balancer, options ...Option) http.Handler {
	h := &handler{b, slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(h)
	}
	mux := http.NewServeMux()
	for path, methods := range map[string]map[string]http.HandlerFunc{
		pathHealth: {http.MethodGet: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, Health{b.Health()})
		}},
		pathServices: {http.MethodGet: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, b.Stats())
		}},
		pathServers: {http.MethodPost: h.updateServers},
		pathConnections: {
			http.MethodGet:    func(w http.ResponseWriter, r *http.Request) { listConnections(b, w, r) },
			http.MethodDelete: h.deleteConnections,
		},
	} {
		allowed := make([]string, 0, len(methods))
		for method, handle := range methods {
			mux.HandleFunc(method+" "+path, handle)
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			answer(w, http.StatusMethodNotAllowed, failure{r.Method + " " + r.URL.Path + ": allowed: " + strings.Join(allowed, ", ")})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		all := strings.Join([]string{pathHealth, pathServices, pathServers, pathConnections}, ", ")
		answer(w, http.StatusNotFound, failure{r.URL.Path + ": not found; there are " + all})
	})
	return mux
}

// failure is the body of a response to a mistake.
type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // a reason may quote a page
	_ = enc.Encode(body)     // the client has gone
}
