package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	osuser "os/user"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
	"github.com/golb/golb/lb/conf"
)

func newRunCommand() *cobra.Command {
	var file, socket, group string
	level, format := logLevel(slog.LevelInfo), formatAuto
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Balance as a config says",
		Long: `Take over the VIPs of a config and balance until SIGINT or SIGTERM. The config is FILE, or
that of -c, or /etc/golb.yaml: a regular file, or - for the standard input. golb ends
within 5 seconds of the signal; what hangs by then is cut off, with exit code 1. A second
signal ends it at once.

SIGHUP reads the file again and applies it, all or nothing: connections go on, and where
it has mistakes, cannot be read within 10 seconds, or the host refuses it, the old config
stays. Interfaces, workers and the size of the connection table change at a restart only.

golb health, list, drain and others reach it through a Unix socket, which only root,
golb's user and the group that --socket-group names may use.

The log goes to standard error, as text on a terminal and as JSON elsewhere, or as
--log-format says.
golb needs CAP_NET_RAW and CAP_NET_ADMIN.`,
		Example: `  golb run golb.yaml
  golb run golb.yaml --log-level debug`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(args, file)
			if err != nil {
				return err
			}
			gid, err := groupID(group)
			if err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // the next signal ends the process
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)

			text := format.isText(cmd.ErrOrStderr())
			s := server{
				file:   file,
				log:    newLogger(cmd.ErrOrStderr(), slog.Level(level), text),
				check:  (*lb.Config).ValidateHost,
				socket: socket, group: gid, wanted: cmd.Flags().Changed("socket"),
			}
			s.env.Logger = s.log
			ended := endWithin(ctx, endTime, func() {
				go s.log.Error("something hangs: golb is cut off", "after", endTime.String()) // the log too may hang
				time.Sleep(100 * time.Millisecond)
				os.Exit(exitFailed)
			})
			defer ended()
			err = s.run(ctx, reload)
			if err != nil && !text {
				logMistakes(s.log, err)
				return loggedError{err}
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the config, a YAML `file`")
	bindSocket(cmd, &socket)
	cmd.Flags().StringVar(&group, "socket-group", "", "the `group` whose members may use the socket, to see and to change all")
	cmd.Flags().Var(&level, "log-level", "the least `level` to log: debug, info, warn or error")
	cmd.Flags().Var(&format, "log-format", "the `format` of the log: text, json, or auto: text on a terminal, else json")
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
	completeFlag(cmd, "log-format", "auto", "text", "json")
	return cmd
}

// endTime is how long golb may take to end.
const endTime = 4500 * time.Millisecond

// endWithin calls cut a time after ctx has ended, unless ended is called before.
func endWithin(ctx context.Context, limit time.Duration, cut func()) (ended func()) {
	done := make(chan struct{})
	context.AfterFunc(ctx, func() {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			cut()
		}
	})
	return sync.OnceFunc(func() { close(done) })
}

// groupID returns the number of a group, -1 for "".
func groupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if gid, err := strconv.Atoi(name); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := osuser.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("--socket-group %q: no such group", name)
	}
	return strconv.Atoi(g.Gid)
}

// server is a run of the run command.
type server struct {
	file   string
	log    *slog.Logger
	env    lb.Env
	check  func(*lb.Config) error // against the host
	socket string                 // of the API; "" is none
	group  int                    // that may use it; -1 is none
	wanted bool                   // the command line names it
}

// listen opens the socket of the API; nil where there is none. Failing to open it is an error
// only if the command line names it, or another golb serves it.
func (s *server) listen() (net.Listener, error) {
	if s.socket == "" {
		return nil, nil
	}
	l, err := api.ListenGroup(s.socket, s.group)
	if err != nil && !s.wanted && !errors.Is(err, api.ErrTaken) {
		s.log.Warn("no API socket: golb health, list, drain and others cannot reach this golb", "socket", s.socket, "reason", err.Error(),
			"remedy", "--socket names one that golb's user can make, GOLB_SOCKET or XDG_RUNTIME_DIR where")
		return nil, nil
	}
	return l, err
}

// run balances until ctx ends, and applies the file again whenever reload says so.
func (s *server) run(ctx context.Context, reload <-chan os.Signal) error {
	doc, err := s.read(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := lb.New(doc.Config, s.env)
	if err != nil {
		return doc.Locate(err)
	}
	info, _ := debug.ReadBuildInfo()
	s.log.Info("starting", "version", versionLine(info), "config", s.file, "services", len(doc.Config.Services),
		"servers", servers(&doc.Config), "interfaces", strings.Join(doc.Config.Interfaces, ", "))
	l, err := s.listen()
	if err != nil {
		return err
	}
	allowed := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(allowed + b.Workers()) // so that workers keep no check and no ARP request waiting
	defer runtime.GOMAXPROCS(allowed)
	ctx, cancel := context.WithCancelCause(ctx)
	var others sync.WaitGroup
	others.Go(func() {
		<-ctx.Done()
		s.log.Info("stopping", "reason", context.Cause(ctx).Error())
	})
	others.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-reload:
				s.reload(ctx, b)
			}
		}
	})
	if l != nil {
		others.Go(func() {
			if err := api.Serve(ctx, l, api.Handler(b, api.LogOrders(s.log))); err != nil {
				s.log.Error(err.Error())
			}
		})
	}
	err = b.Run(ctx)
	cancel(err)
	others.Wait()
	return doc.Locate(err)
}

// read reads the file, and returns no later than ctx ends, whatever the file's system does.
func (s *server) read(ctx context.Context) (*conf.Document, error) {
	done := make(chan struct{})
	var read *conf.Document
	var failed error
	go func() {
		defer close(done)
		read, failed = conf.ReadIn(s.env, s.file, s.check)
	}()
	select {
	case <-done:
		return read, failed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// reload reads the file and applies it, or logs why it does not.
func (s *server) reload(ctx context.Context, b *lb.Balancer) {
	doc, err := s.read(ctx)
	if err == nil {
		err = doc.Locate(b.Apply(ctx, doc.Config))
	}
	if err != nil {
		logMistakes(s.log, err)
		s.log.Error("config refused; the old one goes on", "file", s.file)
		return
	}
	s.log.Info("config applied", "file", s.file, "services", len(doc.Config.Services))
}
