// Command wire measures golb on a network of real kernel stacks beside what else could stand in its place: a reflector that
// uses the same ports and only changes MAC addresses, the kernel's own forwarding, nftables, HAProxy and nginx.
//
//	go run -pgo cmd/golb/release.pgo ./benchmarks/wire                # some minutes; prints the table, writes benchmarks/results
//	go run -pgo cmd/golb/release.pgo ./benchmarks/wire -readme        # and puts it into README.md and benchmarks/README.md
//	go run -pgo cmd/golb/release.pgo ./benchmarks/wire -rows 'golb|reflector' -rounds 1 -time 300ms
//
// Its own process is the balancer, so it is built with the profile that a release of golb is built with.
//
// Client, balancer and servers are network namespaces of this process and the balancer is a process in one of them; nothing
// is visible outside, and nothing is left behind. It needs Linux and either root or user namespaces.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"time"
)

// options are the command line's.
type options struct {
	Rounds  int
	Time    time.Duration
	Rows    *regexp.Regexp
	Metrics *regexp.Regexp
	Flows   int
	Out     string
	Readme  bool
	Profile string
}

// minFlows is so many that no two packets of a flow are in one batch, where golb would merge them into one frame.
const minFlows = 128

func parseOptions(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("wire", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.Rounds, "rounds", 5, "how often everything is measured; the table has the medians")
	flags.DurationVar(&o.Time, "time", 300*time.Millisecond, "of each measurement")
	rows := flags.String("rows", ".", "regular `expression`: which rows")
	metrics := flags.String("metrics", ".", "regular `expression`: which of packets, workers, download, upload, connections, requests, latency, polling")
	flags.IntVar(&o.Flows, "flows", 1024, "of 64-byte packets, 128 to 64000")
	flags.StringVar(&o.Out, "out", "benchmarks/results", "`directory` for wire.md, wire.csv and wire.svg; none where empty")
	flags.BoolVar(&o.Readme, "readme", false, "put the results into README.md and benchmarks/README.md")
	flags.StringVar(&o.Profile, "profile", "", "`directory` for processor profiles of golb and the reflector; none where empty")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err1, err2 error
	o.Rows, err1 = regexp.Compile(*rows)
	o.Metrics, err2 = regexp.Compile(*metrics)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return o, err
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected %q", flags.Arg(0))
	case o.Rounds < 1:
		return o, fmt.Errorf("-rounds %d: at least 1", o.Rounds)
	case o.Time < 10*time.Millisecond || o.Time > 10*time.Second:
		return o, fmt.Errorf("-time %s: 10ms to 10s", o.Time)
	case o.Flows < minFlows || o.Flows > 64000:
		return o, fmt.Errorf("-flows %d: %d to 64000", o.Flows, minFlows)
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(1)
	}
}

// start is the whole program, or, started by itself as "wire role ORDER", one of its parts.
func start(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "role" {
		return playRole(ctx, args[1])
	}
	o, err := parseOptions(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("needs Linux")
	}
	return measureAll(ctx, o)
}
