package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print golb's version and what it was built from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine(info))
			return err
		},
	}
}

// version is the newest that CHANGELOG.md names. Clones may lack tags, so it is written
// here.
const version = "v0.1.0"

// versionLine returns version, toolchain and commit in one line. info is nil in a program
// built without modules. A module that was downloaded has a version and no commit.
func versionLine(info *debug.BuildInfo) string {
	built := []string{runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	if info != nil {
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		switch commit, module := settings["vcs.revision"], info.Main.Version; {
		case commit != "" && settings["vcs.modified"] == "true":
			built = append(built, "commit "+commit+" with changes")
		case commit != "":
			built = append(built, "commit "+commit)
		case module != "" && module != "(devel)" && module != version:
			built = append(built, "module "+module)
		}
	}
	return fmt.Sprintf("golb %s (%s)", version, strings.Join(built, ", "))
}
