package procgroup

import (
	"slices"
	"testing"
)

func TestCommandsDoNotGetSecretsOfTheEnvironment(t *testing.T) {
	for name, passed := range map[string]bool{
		"PATH": true, "HOME": true, "LC_ALL": true, "TZ": true, "GOLB_SOCKET": true,
		"DB_PASSWORD": false, "AWS_SECRET_ACCESS_KEY": false, "PATHS": false, "LCX": false,
	} {
		t.Setenv(name, "value of the test")
		if got := slices.Contains(Environ(), name+"=value of the test"); got != passed {
			t.Errorf("%s is passed on: %v, want %v", name, got, passed)
		}
	}
}
