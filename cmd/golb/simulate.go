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
		Short: "Play packets through the balancer in memory, and say where each goes",
		Long: `Read scenarios, one JSON object a line: services as ipvsadm commands, then events.
Play each through the real engine on a wire in memory, with a clock of its own,
and write the same lines with answers: which server each connection is bound to,
its state and the seconds it has left, what each server counts, and the frames
sent, byte for byte. FILE - is standard input.

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
    with "key":"CLIENT VIP"    the same from a server, of that connection
  raw                          "in": an IP packet in hex
  cmd                          an ipvsadm command
  sleep                        "s" seconds; other events are 5 ms apart
  dump                         the servers and their connections

The balancer has the interface 10.9.0.1/16 and fd00:9::1/64, MTU 1500. Servers are
10.9.1.N and fd00:9::1:N with the MAC 02:00:00:00:00:NN; all else is behind the
gateway, 02:00:00:00:00:fe. Settings are ip_vs's (ipvs_compat) but for sysctl.

A line that cannot be played is told with its number; the rest goes on, and the
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
		return loggedError{fmt.Errorf("%s could not be played", count(failed, "line"))}
	}
	return nil
}

func simulateFile(cmd *cobra.Command, file string, format simulate.Format, bad func(*simulate.LineError)) error {
	var in io.Reader = cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return simulate.Run(file, in, cmd.OutOrStdout(), format, bad)
}
