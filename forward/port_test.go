package forward

import (
	"reflect"
	"testing"
)

func TestPortStatsAddsEveryCount(t *testing.T) {
	one := PortStats{}
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i + 1))
	}
	sum := one
	sum.Add(one)
	for i := range v.NumField() {
		if got, want := reflect.ValueOf(sum).Field(i).Uint(), uint64(2*(i+1)); got != want {
			t.Errorf("%s: %d, want %d", v.Type().Field(i).Name, got, want)
		}
	}
}
