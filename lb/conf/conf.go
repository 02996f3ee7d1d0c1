// Package conf reads a balancer's configuration from YAML, strictly: every mistake
// is reported at once, each with file, line, column, path, value and what is allowed.
//
//	cfg, err := conf.Load("/etc/golb.yaml")
//	if err != nil {
//		log.Fatal(err) // one line per mistake
//	}
//
// The keys are the `yaml` tags of lb.Config. What YAML offers beyond lists,
// mappings and scalars (anchors, aliases, merge keys, tags, several documents) is
// refused: a mistake in what an alias stands for has no one place to point at.
package conf

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	"github.com/golb/golb/lb"
)

// maxSize bounds a file in bytes, so that a device named by mistake ends.
const maxSize = 64 << 20

// Load reads and validates a file. The error is Errors where the content is at
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
	d, err := ReadBytes(name, data)
	if err != nil {
		return lb.Config{}, err
	}
	return d.Config, nil
}

// Document is a valid configuration and where each part of it stands in its file,
// for mistakes that show only later, when it is run. Its methods are safe for
// concurrent use.
type Document struct {
	Config lb.Config

	file  string
	index index
	keyAt index // where a key itself stands, if it may be unknown to who reads it
}

// Read is Load that remembers positions and runs further checks of the Config, such
// as (*lb.Config).ValidateHost. What they return as lb.ConfigErrors is reported
// together with all other mistakes.
func Read(path string, checks ...func(*lb.Config) error) (*Document, error) {
	return ReadIn(lb.Env{}, path, checks...)
}

// ReadIn is Read of the Config of a balancer that is to live in env, whose types of
// health checks it may name.
func ReadIn(env lb.Env, path string, checks ...func(*lb.Config) error) (*Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("conf: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("conf: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("conf: read %s: larger than %d MiB", path, maxSize>>20)
	}
	return readBytes(env, path, data, checks)
}

// ReadBytes is Read of content that is already in memory. It keeps no part of data.
func ReadBytes(name string, data []byte, checks ...func(*lb.Config) error) (*Document, error) {
	return readBytes(lb.Env{}, name, data, checks)
}

func readBytes(env lb.Env, name string, data []byte, checks []func(*lb.Config) error) (*Document, error) {
	body, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	dec := newDecoder(name)
	doc := &Document{file: name, index: dec.index, keyAt: dec.keyAt}
	dec.decode("", body, body, reflect.ValueOf(&doc.Config).Elem())

	errs := dec.errs
	var other error // of a check that could not be made
	for _, check := range append([]func(*lb.Config) error{func(c *lb.Config) error { return c.Validate(env) }}, checks...) {
		err := check(&doc.Config)
		found := doc.locate(err)
		if err != nil && len(found) == 0 {
			other = err
		}
		found = slices.DeleteFunc(found, func(e Error) bool { return dec.follows(e.Path) })
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
	return doc, nil
}

// Locate turns lb.ConfigErrors about the Document's Config, such as those of
// Balancer.Run and Apply, into Errors. Other errors, nil included, come back as they are.
func (d *Document) Locate(err error) error {
	if errs := d.locate(err); len(errs) > 0 {
		errs.sort()
		return errs
	}
	return err
}
