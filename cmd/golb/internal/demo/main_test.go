package demo

import (
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
