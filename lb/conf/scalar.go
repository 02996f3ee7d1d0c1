package conf

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/golb/golb/lb"
)

// textOf returns a scalar as it is meant and whether it stood in quotes or a block;
// ok is false for lists and mappings.
func textOf(n ast.Node) (text string, quoted, ok bool) {
	switch s := n.(type) {
	case *ast.LiteralNode:
		return s.Value.Value, true, true
	case *ast.StringNode:
		t := s.GetToken().Type
		return s.Value, t == token.SingleQuoteType || t == token.DoubleQuoteType, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, false, true
	}
	return "", false, false
}

// wrongType notes that n is of a kind that cannot become a t.
func (d *decoder) wrongType(path string, n ast.Node, t reflect.Type) {
	e := lb.ConfigError{Path: path, Allowed: allowed(t)}
	text, _, scalar := textOf(n)
	_, mapping := pairs(n)
	switch {
	case scalar:
		e.Value, e.Problem = text, "a single value"
		if t.Kind() == reflect.Slice && isScalar(t.Elem()) {
			e.Allowed += fmt.Sprintf(": [%s]", text)
		}
	case mapping:
		e.Problem = "a mapping"
	default:
		e.Problem = "a list"
	}
	d.fail(start(n), e)
}

// text decodes a type that reads itself, such as an address or the name of an enum.
func (d *decoder) text(path string, n ast.Node, v reflect.Value, u encoding.TextUnmarshaler) {
	text, _, ok := textOf(n)
	if !ok {
		d.wrongType(path, n, v.Type())
	} else if text == "" { // netip takes it for the zero value
		d.fail(start(n), lb.ConfigError{Path: path, Problem: "empty", Allowed: allowed(v.Type())})
	} else if err := u.UnmarshalText([]byte(text)); err != nil {
		d.fail(start(n), lb.ConfigError{Path: path, Value: text, Problem: problemOf(err), Allowed: allowed(v.Type())})
	} else {
		return
	}
	if v.CanUint() { // of an enum: no value of it, so that validation does not go on with the default
		v.SetUint(1<<v.Type().Bits() - 1)
	}
}

// problemOf says what an UnmarshalText found without repeating the value.
func problemOf(err error) string {
	if names, ok := strings.CutPrefix(err.Error(), "allowed: "); ok && names != "" {
		return "unknown name"
	}
	_, problem, ok := strings.Cut(err.Error(), "): ") // netip: ParseAddr("x"): why
	if !ok {
		return err.Error()
	}
	return problem
}

func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	text, quoted, ok := textOf(n)
	if !ok {
		d.wrongType(path, n, v.Type())
		return
	}
	problem, allow := "", allowed(v.Type())
	switch {
	case v.Type() == durationType:
		problem, allow = setDuration(v, text)
	case v.Kind() == reflect.String:
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			v.SetString(text)
		default:
			problem, allow = "not text", fmt.Sprintf("text; in quotes %q is", text)
		}
	case v.Kind() == reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else {
			problem = "not true or false"
		}
	case v.CanInt() || v.CanUint():
		problem = setInteger(v, text, quoted)
	default:
		problem, allow = fmt.Sprintf("a %s cannot be set in a file", v.Type()), ""
	}
	if problem != "" {
		d.fail(start(n), lb.ConfigError{Path: path, Value: text, Problem: problem, Allowed: allow})
	}
}

// setInteger takes decimal only: 010 is 8 to some readers and 10 to others.
func setInteger(v reflect.Value, text string, quoted bool) (problem string) {
	digits := strings.TrimPrefix(text, "-")
	if quoted || digits == "" || strings.Trim(digits, "0123456789") != "" {
		if quoted && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return "a number in quotes"
		}
		return "not a whole number"
	}
	if len(digits) > 1 && digits[0] == '0' {
		return "a number with leading zeros"
	}
	var err error
	if v.CanInt() {
		var i int64
		if i, err = strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	} else {
		var u uint64
		if u, err = strconv.ParseUint(text, 10, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	}
	if err != nil {
		return "out of range"
	}
	return ""
}

func setDuration(v reflect.Value, text string) (problem, allow string) {
	allow = allowed(durationType)
	if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
		return "a duration without a unit", fmt.Sprintf("%s; %ss for seconds", allow, text)
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return "not a duration", allow
	}
	v.SetInt(int64(duration))
	return "", ""
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return false
	case reflect.Struct:
		return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	}
	return true
}

// allowed says what a value of a type may be.
func allowed(t reflect.Type) string {
	switch t {
	case durationType:
		return "a number and a unit, such as 500ms, 5s or 2m"
	case reflect.TypeFor[netip.Addr]():
		return "an IPv4 or IPv6 address"
	case reflect.TypeFor[netip.AddrPort]():
		return "an address and a port, such as 192.0.2.1:80 or [2001:db8::1]:80"
	case reflect.TypeFor[netip.Prefix]():
		return "an address and a prefix length, such as 192.0.2.0/24"
	}
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return allowedNames(u)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return allowed(t.Elem())
	case reflect.Struct:
		f := fieldsOf(t)
		keys := strings.Join(f.list, ", ")
		if f.inline >= 0 {
			keys += ", and more"
		}
		return "a mapping with the keys " + keys
	case reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("a whole number, 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return fmt.Sprintf("a whole number, %d to %d", -(int64(1) << (t.Bits() - 1)), int64(1)<<(t.Bits()-1)-1)
	}
	return "a whole number"
}

// allowedNames asks an enum what it takes; those of lb answer "allowed: a, b or c".
func allowedNames(u encoding.TextUnmarshaler) string {
	err := u.UnmarshalText([]byte("?"))
	if err == nil {
		return ""
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if names, ok := strings.CutPrefix(e.Error(), "allowed: "); ok {
			return names
		}
	}
	return ""
}
