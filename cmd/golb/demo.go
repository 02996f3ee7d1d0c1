package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/golb/golb/cmd/golb/internal/demo"
	"github.com/golb/golb/lb/lbtest/lab"
)

type demoFlags struct {
	demo.Config
	size string
	json bool
	keep bool
}

func newDemoCommand() *cobra.Command {
	f := demoFlags{Config: demo.Config{Mode: "dsr", Fault: "cable"}}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Balance real traffic in a lab of network namespaces, and kill a server",
		Long: `Build a small network inside this process, with a kernel network stack for each
host: a client, three web servers and golb before them. Drive HTTP requests
through golb, measure them, have one server fail and bring it back, and count the
requests that fail meanwhile.

Nothing needs to be configured or installed, and nothing is left behind. Root is
not needed where the system allows user namespaces.

The exit code is 0 only if no request failed but those that the server had when it
failed. Progress goes to standard error, the result to standard output.`,
		Example: `  golb demo
  golb demo -6 --json
  golb demo --mode tun --fault vip
  golb demo --keep`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Mode, "mode", f.Mode, "how packets reach servers: "+strings.Join(demo.Modes(), ", "))
	flags.StringVar(&f.Fault, "fault", f.Fault, "how a server fails: "+strings.Join(demo.Faults(), ", "))
	completeFlag(cmd, "mode", demo.Modes()...)
	completeFlag(cmd, "fault", demo.Faults()...)
	flags.BoolVarP(&f.IPv6, "ipv6", "6", false, "IPv6 instead of IPv4")
	flags.IntVarP(&f.Requests, "requests", "n", 6000, "number of HTTP requests")
	flags.StringVar(&f.size, "size", "128M", "bytes of the large upload and download; K, M and G are binary")
	flags.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	flags.BoolVar(&f.keep, "keep", false, "leave the lab up until Ctrl-C, and print how to enter its hosts")
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	var err error
	if f.Size, err = parseSize(f.size); err != nil {
		return usageError{err}
	}
	if err := f.Validate(); err != nil {
		return usageError{err}
	}
	// An ordinary user gets a lab in a copy of this process, in a user namespace.
	done, code, err := lab.Reexec()
	switch {
	case err != nil:
		return fmt.Errorf("demo: %w (run it as root, or allow user namespaces)", err)
	case done:
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f.Progress = cmd.ErrOrStderr()
	return f.show(ctx, cmd)
}

func (f *demoFlags) show(ctx context.Context, cmd *cobra.Command) (err error) {
	d, err := demo.Start(ctx, f.Config)
	if ctx.Err() != nil && err != nil {
		return errors.New("demo: interrupted")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	r, err := d.Drive(ctx)
	if ctx.Err() != nil {
		return errors.New("demo: interrupted")
	}
	if err != nil {
		return err
	}
	if err := f.print(cmd, r); err != nil {
		return err
	}
	if f.keep {
		if err := d.Keep(ctx, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	return r.Err()
}

func (f *demoFlags) print(cmd *cobra.Command, r *demo.Result) error {
	if f.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	fmt.Fprintln(cmd.ErrOrStderr())
	return r.WriteTable(cmd.OutOrStdout())
}

// parseSize reads a number of bytes with an optional binary unit.
func parseSize(text string) (int64, error) {
	number, shift := text, 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMG", text[n-1]&^0x20); i >= 0 {
			number, shift = text[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 1 || v > 1<<40>>shift {
		return 0, fmt.Errorf("size: %q: allowed: 1 to 1024G, as in 65536, 64K, 64M, 1G", text)
	}
	return v << shift, nil
}
