package fields

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Form is how a scalar is written.
type Form uint8

// The forms.
const (
	Word   Form = iota // plain text
	Quoted             // text in quotes
	Number
	Bool
)

// Set gives v, of kind Scalar or Text, the value that a file has in words. problem is
// "" if it could.
func Set(t *Type, v reflect.Value, text string, form Form) (problem, allowed string) {
	if t.Kind == Text {
		problem, allowed = setText(v, text)
		if problem != "" && v.CanUint() { // no value of the enum, so that validation does not go on with the default
			v.SetUint(1<<v.Type().Bits() - 1)
		}
		return problem, allowed
	}
	switch {
	case t.Go == durationType:
		return setDuration(v, text)
	case v.Kind() == reflect.String:
		if form != Word && form != Quoted {
			return "not text", fmt.Sprintf("text; in quotes %q is", text)
		}
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if form != Bool {
			return "not true or false", Allowed(t.Go)
		}
		v.SetBool(strings.EqualFold(text, "true"))
	case v.CanInt() || v.CanUint():
		if problem := setInteger(v, text, form == Quoted); problem != "" {
			return problem, Allowed(t.Go)
		}
	default:
		return fmt.Sprintf("a %s cannot be set in a file", t.Go), ""
	}
	return "", ""
}

func setText(v reflect.Value, text string) (problem, allowed string) {
	if text == "" { // netip takes it for the zero value
		return "empty", Allowed(v.Type())
	}
	var err error
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr: // most texts are
		*p, err = netip.ParseAddr(text)
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(text))
	}
	if err == nil {
		return "", ""
	}
	problem, allowed = problemOf(err, v), Allowed(v.Type())
	if _, ok := v.Addr().Interface().(*netip.Addr); ok {
		problem = cmp.Or(addressProblem(text), problem)
	}
	if meant, ok := Meant(text, strings.FieldsFunc(allowed, func(r rune) bool { return r == ' ' || r == ',' })); ok {
		problem += ": golb says " + meant
	}
	return problem, allowed
}

// problemOf says what an UnmarshalText of v found without repeating the value.
func problemOf(err error, v reflect.Value) string {
	if strings.HasPrefix(err.Error(), "allowed: ") {
		if v.CanUint() { // of an enum
			return "unknown name"
		}
		return "not allowed"
	}
	_, problem, ok := strings.Cut(err.Error(), "): ") // netip: ParseAddr("x"): why
	if !ok {
		return err.Error()
	}
	return problem
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

func setDuration(v reflect.Value, text string) (problem, allowed string) {
	if duration, err := time.ParseDuration(text); err == nil {
		v.SetInt(int64(duration))
		return "", ""
	}
	allowed = Allowed(durationType)
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return "a duration without a unit", fmt.Sprintf("%s; %ss for seconds", allowed, text)
	}
	return "not a duration", allowed
}

// Allowed says what a value of a type may be.
func Allowed(t reflect.Type) string {
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
		return Allowed(t.Elem())
	case reflect.Struct:
		x := TypeOf(t)
		keys := strings.Join(x.Names(), ", ")
		if x.Inline != nil {
			keys += ", and more"
		}
		return "a mapping with the keys " + keys
	case reflect.Interface:
		return ""
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

// Mismatch is the mistake of a list, a mapping or a scalar, which has a text, where a
// file has to have something else.
func (x *Type) Mismatch(path string, got Kind, text string) Mistake {
	m := Mistake{Path: path, Allowed: Allowed(x.Go)}
	switch got {
	case Scalar:
		m.Value, m.Problem = text, "a single value"
		if x.Kind == List && (x.Elem.Kind == Scalar || x.Elem.Kind == Text) {
			m.Allowed += fmt.Sprintf(": [%s]", text)
		}
	case Map:
		m.Problem = "a mapping"
	default:
		m.Problem = "a list"
	}
	return m
}
