package health

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Key is a parameter of a type of check, by its name in a config and on a command line.
type Key struct {
	Name     string
	Also     []string // other names, ldirectord's where it has one
	Default  string   // as it would be written; "" is no default
	About    string   // one line
	Allowed  string   // the values that it takes, for errors and lists
	Example  string   // one of them, where the key is Required
	List     bool     // may be given several times
	Flag     bool     // true or false
	Secret   bool     // its value is never shown
	ShownTo  string   // of a Secret: what ends the part that is shown, as the = of NAME=value; "" shows nothing
	Required bool     // must be given

	set   func(string) error
	given bool
}

// Keys binds the keys of one check to variables, as a [flag.FlagSet] does, each of which
// is set to its default at once. A key's names are given as "path,request": the first is
// its Name, the others are taken too.
type Keys struct {
	all  []*Key
	then []func() error
}

// Require marks the key as one that must be given, and gives a value that it takes.
func (k *Key) Require(example string) { k.Required, k.Example = true, example }

// Func binds a key to a function, which is called with each value given; its error is
// the [ParamError] Problem.
func (k *Keys) Func(names, def, about, allowed string, set func(string) error) *Key {
	name, also, _ := strings.Cut(names, ",")
	key := &Key{Name: name, Default: def, About: about, Allowed: allowed, set: set}
	if also != "" {
		key.Also = strings.Split(also, ",")
	}
	k.all = append(k.all, key)
	return key
}

// Then has f called when all values are set, for what depends on several of them. An
// error that is a [ParamError] names the key at fault.
func (k *Keys) Then(f func() error) { k.then = append(k.then, f) }

// String binds a key to a string without control characters, which may become part of
// a line that is sent.
func (k *Keys) String(p *string, names, def, about string) *Key {
	*p = def
	return k.Func(names, def, about, "text without control characters", func(s string) error {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return errNotAllowed
		}
		*p = s
		return nil
	})
}

// Text binds a key to bytes to send, given with the escapes \n, \r, \t, \\ and \xHH.
func (k *Keys) Text(p *string, names, about string) {
	*p = ""
	k.Func(names, "", about+`; \n, \r, \t, \\ and \xHH are escapes`, "text with those escapes", func(s string) (err error) {
		*p, err = unescape(s)
		return err
	})
}

// Secret binds a key to a string that is never shown.
func (k *Keys) Secret(p *string, names, about string) {
	k.String(p, names, "", about).Secret = true
}

// Login binds the keys login and password.
func (k *Keys) Login(login, password *string) {
	k.String(login, "login", *login, "name to log in with")
	k.Secret(password, "password,passwd", "password to log in with")
	k.Then(func() error {
		if *password != "" && *login == "" {
			return ParamError{Key: "login", Problem: "password is given without it"}
		}
		return nil
	})
}

// Bool binds a key to a bool whose default is false.
func (k *Keys) Bool(p *bool, names, about string) {
	k.Func(names, "false", about, "true or false", func(s string) error {
		switch s {
		case "true", "yes":
			*p = true
		case "false", "no":
			*p = false
		default:
			return errNotAllowed
		}
		return nil
	}).Flag = true
}

// Int binds a key to an int from low to high.
func (k *Keys) Int(p *int, names string, def, low, high int, about string) {
	*p = def
	k.Func(names, strconv.Itoa(def), about, strconv.Itoa(low)+" to "+strconv.Itoa(high), func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return errNotAllowed
		}
		*p = n
		return nil
	})
}

// Duration binds a key to a duration of at least 0, in the form of
// [time.ParseDuration].
func (k *Keys) Duration(p *time.Duration, names string, def time.Duration, about string) {
	*p = def
	k.Func(names, def.String(), about, "a time like 500ms or 3s", func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return errNotAllowed
		}
		*p = d
		return nil
	})
}

// Choice binds a key to one of several words, whose case does not matter.
func (k *Keys) Choice(p *string, names, def, about string, choices ...string) {
	*p = def
	k.Func(names, def, about, strings.Join(choices, ", "), func(s string) error {
		i := slices.IndexFunc(choices, func(word string) bool { return strings.EqualFold(word, s) })
		if i < 0 {
			return errNotAllowed
		}
		*p = choices[i]
		return nil
	})
}

// List binds a key to the list of all values given.
func (k *Keys) List(p *[]string, names, about string) *Key {
	key := k.Func(names, "", about, "a list of texts without control characters", func(s string) error {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return errNotAllowed
		}
		*p = append(*p, s)
		return nil
	})
	key.List = true
	return key
}

// Expect binds two keys to what an answer must match: expect (ldirectord's receive), a
// regular expression, and contains, plain text. what names the answer.
func (k *Keys) Expect(p **regexp.Regexp, what string) {
	var pattern, text *regexp.Regexp
	k.Func("expect,receive", "", "pattern that must match "+what, "a regular expression, RE2", func(s string) (err error) {
		if s != "" {
			pattern, err = compilePattern(s)
		}
		return err
	})
	k.Func("contains", "", "text that must be in "+what, "text", func(s string) error {
		text = regexp.MustCompile(regexp.QuoteMeta(s))
		return nil
	})
	k.Then(func() error {
		if pattern != nil && text != nil {
			return ParamError{Key: "contains", Problem: "expect is given too"}
		}
		if *p = pattern; text != nil {
			*p = text
		}
		return nil
	})
}

// compilePattern reads a regular expression; its error is a ParamError's Problem.
func compilePattern(s string) (*regexp.Regexp, error) {
	p, err := regexp.Compile(s)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s: %s", wrong.Code, wrong.Expr)
	}
	return p, err
}

// Status binds the key status to the codes that mean up.
func (k *Keys) Status(p *StatusSet) {
	k.Func("status", "200-299", "codes that mean up", "codes and ranges from 100 to 599, as in 200-299,301", func(s string) error {
		set, err := ParseStatusSet(s)
		if err != nil {
			return errNotAllowed
		}
		*p = set
		return nil
	})
}

// find returns the key of a name.
func (k *Keys) find(name string) *Key {
	for _, key := range k.all {
		if key.Name == name || slices.Contains(key.Also, name) {
			return key
		}
	}
	return nil
}

// names lists the keys for an error.
func (k *Keys) names() string {
	var names []string
	for _, key := range k.all {
		names = append(names, key.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// unescape replaces the escapes in a text of a config.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", errNotAllowed
		}
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '\\':
			b.WriteByte('\\')
		case 'x':
			if i+2 >= len(s) {
				return "", errNotAllowed
			}
			v, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "", errNotAllowed
			}
			b.Write(v)
			i += 2
		default:
			return "", errNotAllowed
		}
	}
	return b.String(), nil
}
