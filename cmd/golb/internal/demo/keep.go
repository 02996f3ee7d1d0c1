package demo

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Keep says how to enter each host and what to try there, and returns when ctx ends
// or golb does.
func (d *Demo) Keep(ctx context.Context, w io.Writer) error {
	d.printHosts(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.balancer.done:
			return fmt.Errorf("demo: golb ended: %w", d.balancer.err)
		case e := <-d.balancer.events:
			fmt.Fprintf(w, "golb: %s %s %s\n", e.Kind, e.Server, e.Reason)
		}
	}
}

func (d *Demo) printHosts(w io.Writer) {
	fmt.Fprintln(w, "\nThe lab stays up until Ctrl-C. To enter a host from another terminal, as the user who runs this:")
	for _, h := range d.site.hosts() {
		fmt.Fprintf(w, "  %-7s nsenter %s\n", h.Name(), enter(h.NS()))
	}
	fmt.Fprintln(w, "To try:")
	for _, t := range []command{
		{"client: curl " + d.site.url("/"), "who answers, and whom it sees"},
		{"client: ip neighbor", "the VIP and golb have one MAC address"},
		{"s1:     " + d.mode.tryOnServer.text, d.mode.tryOnServer.why},
		{fmt.Sprintf("s1:     ip link set %s down, or up", ifname), "golb takes s1 out of service, or back in"},
	} {
		fmt.Fprintf(w, "  %-42s # %s\n", t.text, t.why)
	}
}

// enter is what nsenter needs to get into a namespace of this process: in a user
// namespace it must enter that first.
func enter(ns string) string {
	if inUserNamespace() {
		return fmt.Sprintf("--user --preserve-credentials --target %d --net=%s", os.Getpid(), ns)
	}
	return "--net=" + ns
}

// inUserNamespace reports whether this process lives in a user namespace that maps
// not all users, as those that labs make do.
func inUserNamespace() bool {
	var inside, outside, count uint64
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	_, err = fmt.Sscan(string(text), &inside, &outside, &count)
	return err == nil && count == 1
}
