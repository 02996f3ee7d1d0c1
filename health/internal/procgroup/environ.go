package procgroup

import (
	"os"
	"slices"
	"strings"
)

// inherited are the variables that commands need of the environment.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}

// Environ returns what of this process's environment commands get: where things are,
// whose process it is, language and time zone, and golb's own variables. The rest may have secrets.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(inherited, name) && !strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "GOLB_")
	})
}
