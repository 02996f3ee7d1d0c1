package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb/simulate"
)

func newSimulateCommand() *cobra.Command {
	text := false
	cmd := &cobra.Command{
		Use:   "simulate FILE...",
		Short: "Run packets through the balancer in memory, and print where each goes",
		Long: `Read scenarios, one JSON object per line: services as ipvsadm commands, then events.
Run each through the real data plane, on simulated interfaces and a simulated clock,
and write the same lines with the results: each connection's server, state and
seconds until it expires, each server's counters, and the frames sent, byte for
byte. FILE - is standard input.

  {"name":"two servers",
   "setup":["-A -t 10.0.0.100:80 -s rr",
            "-a -t 10.0.0.100:80 -r 10.9.1.1 -g", "-a -t 10.0.0.100:80 -r 10.9.1.2 -g"],
   "sysctl":["net.ipv4.vs.sloppy_tcp=1"],
   "events":[{"t":"syn","src":"192.0.2.1:4000","dst":"10.0.0.100:80"},
             {"t":"cmd","cmd":"-e -t 10.0.0.100:80 -r 10.9.1.1 -g -w 0"},
             {"t":"sleep","s":60},
             {"t":"raw","in":"45000028..."},
             {"t":"dump"}]}

(each scenario on one line). The events:

  syn, ack, fin, rst, synack   a TCP segment from src to dst; fin carries ACK too
  udp                          a UDP datagram from src to dst
    with "key":"CLIENT VIP"    as above, from the server of that connection
  raw                          "in": an IP packet in hex
  cmd                          an ipvsadm command
  sleep                        "s" seconds; other events are 5 ms apart
  dump                         the servers and their connections

The balancer has an interface with 10.9.0.1/16 and fd00:9::1/64, MTU 1500. Servers
are 10.9.1.N and fd00:9::1:N with the MAC 02:00:00:00:00:NN; all else is behind the
gateway, 02:00:00:00:00:fe. The settings are ip_vs's defaults (ipvs_compat) with the
scenario's sysctls.

A line that cannot be run is reported with its number; the others are run, and the
exit code is 1.`,
		Example: `  golb simulate recording.jsonl > answers.jsonl
  golb simulate --text - < recording.jsonl`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			format := simulate.JSON
			if text {
				format = simulate.Text
			}
			return runSimulate(cmd, args, format)
		},
	}
	cmd.Flags().BoolVar(&text, "text", false, "write a readable trace instead of JSON")
	return cmd
}

func runSimulate(cmd *cobra.Command, files []string, format simulate.Format) error {
	failed := 0
	bad := func(e *simulate.LineError) {
		failed++
		fmt.Fprintln(cmd.ErrOrStderr(), e)
	}
	for _, file := range files {
		if err := simulateFile(cmd, file, format, bad); err != nil {
			return err
		}
	}
	if failed > 0 {
		return loggedError{fmt.Errorf("%s could not be run", count(failed, "line"))}
	}
	return nil
}

func simulateFile(cmd *cobra.Command, file string, format simulate.Format, bad func(*simulate.LineError)) error {
	in, err := openInput(cmd, file)
	if err != nil {
		return err
	}
	defer in.Close()
	return simulate.Run(file, in, cmd.OutOrStdout(), format, bad)
}

// openInput opens a file; "-" is the standard input.
func openInput(cmd *cobra.Command, file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(file)
}
