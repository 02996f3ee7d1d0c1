package main

import (
	"strings"
	"testing"
)

func TestConfigRefusesBadArguments(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-vip", "192.0.2.100"}, "vip"},
		{[]string{"-vip", "192.0.2.100:80", "10.0.0.11"}, "server"},
		{[]string{"-interfaces", "eth0,,eth1", "10.0.0.11:80"}, "interfaces"},
		{[]string{"-nonsense"}, "nonsense"},
	}
	for _, tt := range tests {
		if err := run(t.Context(), tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want one about %s", tt.args, err, tt.want)
		}
	}
}
