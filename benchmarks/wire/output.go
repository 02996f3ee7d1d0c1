package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/benchmarks/wire/internal/report"
)

// profile is what releases of golb are built with.
const profile = "cmd/golb/release.pgo"

// goRun is the command that began this process, and whether that named the profile.
func goRun(args []string) (command string, profiled bool) {
	line := []string{"go run"}
	if info, ok := debug.ReadBuildInfo(); ok {
		profiled = slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-pgo" })
	}
	if profiled {
		line = append(line, "-pgo", profile)
	}
	return strings.Join(append(append(line, "./benchmarks/wire"), args...), " "), profiled
}

// outcome is all that a run has to say.
type outcome struct {
	options
	table   *report.Table
	command string
	machine string
	others  float64 // the share of the processors that other programs took
	when    time.Time
}

// The sections of documents that are rewritten.
const sectionName = "wire"

// write prints the results, writes them to files, and into the documents where that was asked for.
func (o outcome) write(w io.Writer) error {
	if _, err := io.WriteString(w, o.markdown("")+"\n"+o.goals()); err != nil {
		return err
	}
	if o.Out == "" {
		return nil
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	var csv strings.Builder
	if err := o.table.CSV(&csv); err != nil {
		return err
	}
	files := map[string]string{
		"wire.md":  o.markdown("wire.svg") + "\n" + o.goals(),
		"wire.csv": csv.String(),
		"wire.svg": o.table.SVG("golb"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(o.Out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if !o.Readme {
		return nil
	}
	for _, doc := range []struct{ file, extra string }{{"README.md", ""}, {"benchmarks/README.md", "\n" + o.goals()}} {
		plot, err := filepath.Rel(filepath.Dir(doc.file), filepath.Join(o.Out, "wire.svg"))
		if err != nil {
			return err
		}
		if err := rewrite(doc.file, o.markdown(filepath.ToSlash(plot))+doc.extra); err != nil {
			return err
		}
	}
	return nil
}

func rewrite(file, body string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w (-readme works in the module's directory)", err)
	}
	text, err := report.ReplaceSection(string(old), sectionName, body)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// markdown is the table, in two parts since it is wide, with the plot where plot names its file.
func (o outcome) markdown(plot string) string {
	var b strings.Builder
	rounds := "rounds"
	if o.Rounds == 1 {
		rounds = "round"
	}
	fmt.Fprintf(&b, "`%s`\n\n%s, on %s. Medians of %d %s of %s each. Other programs took %.0f %% of the processors meanwhile.\n",
		o.command, o.when.Format(time.DateOnly), o.machine, o.Rounds, rounds, o.Time, 100*max(0, o.others))
	if plot != "" {
		fmt.Fprintf(&b, "\n![plot of the table below](%s)\n", plot)
	}
	for _, part := range []struct {
		title string
		keys  []string
	}{
		{"Packets and bulk TCP:", []string{keyRate, keyPacketCPU, keyPacketOwn, keyWorkers, keyWorkersOwn, keyDownload, keyUpload}},
		{"Connections, requests and latency:", []string{keyConnections, keyConnectionMore, keyConnectionOwn, keyRequests, keyP50, keyP99, keyPoll50, keyPoll99}},
	} {
		t := o.table.Select(part.title, part.keys...)
		if len(t.Rows) > 0 {
			b.WriteString("\n" + t.Markdown())
		}
	}
	if notes := o.table.Notes(); notes != "" {
		b.WriteString("\n" + notes)
	}
	return b.String()
}

func (o outcome) goals() string { return "Goals:\n\n" + report.Goals(goals(o.table)) }
