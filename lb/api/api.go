// Package api shows a running balancer to programs on its host: JSON over HTTP on a
// Unix socket.
//
//	l, err := api.Listen(api.DefaultPath())
//	if err != nil {
//		return err
//	}
//	go api.Serve(ctx, l, api.Handler(balancer))
//
// Handler alone serves it in a program's own server. What there is:
//
//	GET /v1/health    how each server is, and why: [Health]
//
// A mistake is answered with a status of 4xx and {"error": "..."}.
package api

import (
	"encoding/json"
	"net/http"

	"github.com/golb/golb/lb"
)

// pathHealth is where a balancer's health is.
const pathHealth = "/v1/health"

// Handler serves a balancer. It only reads, and checks nobody's right to.
func Handler(b *lb.Balancer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathHealth, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, healthOf(b.Health()))
	})
	mux.HandleFunc(pathHealth, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, failure{r.Method + " " + r.URL.Path + ": allowed: GET"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, failure{r.URL.Path + ": not found; there is " + pathHealth})
	})
	return mux
}

// failure is the body of an answer to a mistake.
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
