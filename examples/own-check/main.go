// Command own-check runs a balancer with health checks of its own:
//
//	own-check -dir /run/maintenance -service web golb.yaml
//
// A config may say "check: {type: maintenance}": a server is down while the directory has
// a file named after its address, as 192.0.2.11. Of the service that -service names,
// whatever its check, the servers are up as long as they report to this program, by
// "curl -X POST http://HOST:8081/alive", every 10 seconds. It needs CAP_NET_RAW and
// CAP_NET_ADMIN.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
)

func main() {
	dir := flag.String("dir", "/run/maintenance", "has a file for each server that is down")
	service := flag.String("service", "", "whose servers report to this program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var reports reports
	go func() { log.Fatal(http.ListenAndServe(":8081", &reports)) }()
	env := lb.Env{Logger: slog.Default(), Checks: checks(*dir), Checker: reports.checker(*service)}
	if err := run(ctx, env, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, env lb.Env, path string) error {
	doc, err := conf.ReadIn(env, path)
	if err != nil {
		return err
	}
	balancer, err := lb.New(doc.Config, env)
	if err != nil {
		return err
	}
	return doc.Locate(balancer.Run(ctx))
}

// checks are golb's types of checks and one more.
func checks(dir string) *health.Registry {
	return health.NewRegistry(append(health.Builtin(), health.Type{
		Name: "maintenance", About: "a server is down while there is a file named after it",
		Bind: func(_ *health.Keys, p health.Peer) health.Checker {
			return health.CheckerFunc(func(context.Context) error {
				if _, err := os.Stat(filepath.Join(dir, p.Addr.Addr().String())); err == nil {
					return errors.New("under maintenance")
				}
				return nil
			})
		},
	})...)
}

// reports is when each server last reported, by address. The zero value is ready.
type reports struct{ last sync.Map }

func (r *reports) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if from, err := netip.ParseAddrPort(req.RemoteAddr); err == nil && req.Method == http.MethodPost && req.URL.Path == "/alive" {
		r.last.Store(from.Addr().Unmap(), time.Now())
		return
	}
	http.NotFound(w, req)
}

// checker is lb.Env.Checker: for servers of the service it looks at their reports.
func (r *reports) checker(service string) func(*lb.Service, *lb.Server) health.Checker {
	return func(s *lb.Service, server *lb.Server) health.Checker {
		if service == "" || s.Name != service {
			return nil // the check that the config names
		}
		addr := server.Address
		return health.CheckerFunc(func(context.Context) error {
			last, _ := r.last.Load(addr)
			if at, ok := last.(time.Time); !ok || time.Since(at) > 10*time.Second {
				return errors.New("no report for 10s")
			}
			return nil
		})
	}
}
