package lb

import (
	"fmt"
	"reflect"
	"testing"
)

// TestCloneSharesNothing fails for a field that is added to Config and not to clone.
func TestCloneSharesNothing(t *testing.T) {
	var cfg Config
	fillValue(reflect.ValueOf(&cfg).Elem(), 0)
	cfg.Services[0].Check.Params = map[string]any{"a": []any{"b", map[string]any{"c": []string{"d"}}}, "e": map[string]string{"f": "g"}}
	c := cfg.clone()
	if !reflect.DeepEqual(c, cfg) {
		t.Fatalf("the copy is\n%+v, want\n%+v", c, cfg)
	}
	memory := map[uintptr]string{}
	visitMemory(reflect.ValueOf(&cfg).Elem(), "config", func(path string, at uintptr) { memory[at] = path })
	if len(memory) < 20 {
		t.Fatalf("only %d places of memory were found", len(memory))
	}
	visitMemory(reflect.ValueOf(&c).Elem(), "copy", func(path string, at uintptr) {
		if of := memory[at]; of != "" {
			t.Errorf("%s is the memory of %s", path, of)
		}
	})
}

// fillValue gives each pointer, slice and map below v an element.
func fillValue(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 20 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillValue(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Elem().Kind() == reflect.String {
			v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("value"))
		} else {
			v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf([]string{"value"}))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(v.Field(i), depth+1)
		}
	case reflect.String:
		v.SetString("text")
	}
}

// visitMemory calls visit with the address of each pointer's, slice's and map's memory.
func visitMemory(v reflect.Value, path string, visit func(path string, at uintptr)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Size() > 0 && !v.IsNil() {
			visit(path, v.Pointer())
			visitMemory(v.Elem(), path, visit)
		}
	case reflect.Interface:
		visitMemory(v.Elem(), path, visit)
	case reflect.Slice:
		if v.Len() > 0 {
			visit(path, v.Pointer())
		}
		for i := range v.Len() {
			visitMemory(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Map:
		visit(path, v.Pointer())
		for _, key := range v.MapKeys() {
			visitMemory(v.MapIndex(key), fmt.Sprintf("%s[%v]", path, key), visit)
		}
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			return // netip's share what stands for no zone
		}
		for i := range v.NumField() {
			visitMemory(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	}
}
