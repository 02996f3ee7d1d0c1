// Package conf reads a balancer's configuration from YAML, strictly, and writes it:
// every mistake is reported at once, each with file, line, column, path, value and what
// is allowed, and what [Marshal] writes is read back as it was.
//
//	cfg, err := conf.Load("/etc/golb.yaml")
//	if err != nil {
//		log.Fatal(err) // one line per mistake
//	}
//
// The keys are the `yaml` tags of lb.Config. What YAML offers beyond lists,
// mappings and scalars (anchors, aliases, merge keys, tags, several documents) is
// refused: a mistake in what an alias stands for has no one place to point at. JSON is
// YAML, and read as well.
package conf

import (
	"reflect"
	"slices"
	"sync"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// Load reads and validates a regular file, or the standard input where path is Stdin, within
// 10 s. The error is Errors where the content is at
// fault, else that of reading the file. The Config is the zero value unless the
// error is nil.
func Load(path string) (lb.Config, error) {
	d, err := Read(path)
	if err != nil {
		return lb.Config{}, err
	}
	return d.Config, nil
}

// Parse is Load of content that is already in memory; name stands for the file in
// errors.
func Parse(name string, data []byte) (lb.Config, error) {
	return ParseIn(lb.Env{}, name, data)
}

// ParseIn is Parse of the Config of a balancer that is to live in env, whose schedulers and
// types of health checks it may name.
func ParseIn(env lb.Env, name string, data []byte) (lb.Config, error) {
	d, err := readBytes(env, name, data, nil)
	if err != nil {
		return lb.Config{}, err
	}
	return d.Config, nil
}

// Document is a valid configuration and the file that it was read from, for mistakes
// that show only later, when it is run. Its methods are safe for concurrent use.
type Document struct {
	Config lb.Config

	file   string
	places func() *places // read from the file's text once they are asked for
}

// Read is Load that remembers positions and runs further checks of the Config, such
// as (*lb.Config).ValidateHost. What they return as lb.ConfigErrors is reported
// together with all other mistakes.
func Read(path string, checks ...func(*lb.Config) error) (*Document, error) {
	return ReadIn(lb.Env{}, path, checks...)
}

// ReadIn is Read of the Config of a balancer that is to live in env, whose schedulers and
// types of health checks it may name.
func ReadIn(env lb.Env, path string, checks ...func(*lb.Config) error) (*Document, error) {
	data, err := readFile(path, readTime)
	if err != nil {
		return nil, err
	}
	return readBytes(env, path, data, checks)
}

// ReadBytes is Read of content that is already in memory. It keeps no part of data.
func ReadBytes(name string, data []byte, checks ...func(*lb.Config) error) (*Document, error) {
	return readBytes(lb.Env{}, name, data, checks)
}

func readBytes(env lb.Env, name string, data []byte, checks []func(*lb.Config) error) (*Document, error) {
	text := string(data)
	body, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	doc := &Document{file: name}
	dec := newDecoder(name)
	dec.decode(fields.TypeOf(reflect.TypeFor[lb.Config]()), body, body, reflect.ValueOf(&doc.Config).Elem())

	errs := dec.errs
	var at *places
	var other error // of a check that could not be made
	for _, check := range append([]func(*lb.Config) error{func(c *lb.Config) error { return c.Validate(env) }}, checks...) {
		err := check(&doc.Config)
		if err == nil {
			continue
		}
		if len(mistakes(err)) == 0 {
			other = err
			continue
		}
		if at == nil {
			at = placesOf(body)
		}
		found := slices.DeleteFunc(at.locate(name, err), func(e Error) bool { return dec.follows(e.Path) })
		for _, e := range found {
			dec.lack(e.Path) // one mistake is enough
		}
		errs = append(errs, found...)
	}
	if len(errs) > 0 {
		errs.sort()
		return nil, errs
	}
	if other != nil {
		return nil, other
	}
	doc.places = sync.OnceValue(func() *places {
		body, _ := parse(name, text) // as it was read before
		return placesOf(body)
	})
	return doc, nil
}

// Locate turns lb.ConfigErrors about the Document's Config, such as those of
// Balancer.Run and Apply, into Errors. Other errors, nil included, come back as they are.
// The first call reads the file's text again, which the Document keeps for it.
func (d *Document) Locate(err error) error {
	if len(mistakes(err)) == 0 {
		return err
	}
	errs := d.places().locate(d.file, err)
	errs.sort()
	return errs
}
