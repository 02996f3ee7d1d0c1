package simulate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// LineError is the error of a line that could not be run.
type LineError struct {
	File string
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Format writes a scenario with its answers. line is the line that it was read from.
type Format func(w io.Writer, line []byte, sc *Scenario, played []Played) error

// Run runs the scenarios of r, one JSON object per line, each in a world of its own, and
// writes them in the same order. A line that cannot be run is left out, and bad is called
// with its error. Run itself returns the error of reading or writing.
func Run(file string, r io.Reader, w io.Writer, format Format, bad func(*LineError)) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	for n := 1; ; n++ {
		line, end := in.ReadBytes('\n')
		if end != nil && !errors.Is(end, io.EOF) {
			return fmt.Errorf("%s: %w", file, end)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			sc, played, err := playLine(line)
			if err != nil {
				bad(&LineError{file, n, err})
			} else if err := format(out, line, sc, played); err != nil {
				return err
			}
		}
		if end != nil {
			return out.Flush()
		}
	}
}

func playLine(line []byte) (*Scenario, []Played, error) {
	sc := &Scenario{}
	if err := json.Unmarshal(line, sc); err != nil {
		return nil, nil, err
	}
	played, err := Play(sc, World{})
	return sc, played, err
}

// JSON is the Format of recordings: the line that was read, with its answers.
// Fields that Scenario does not know stay as they are.
func JSON(w io.Writer, line []byte, _ *Scenario, played []Played) error {
	var sc object
	if err := json.Unmarshal(line, &sc); err != nil {
		return err
	}
	var events []object
	if err := json.Unmarshal(sc.get("events"), &events); err != nil {
		return err
	}
	for i := range events {
		if err := events[i].answer(&played[i].Answer); err != nil {
			return err
		}
	}
	b, err := encode(events)
	if err != nil {
		return err
	}
	sc.set("events", b)
	if b, err = encode(sc); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// encode is json.Marshal without \u003c for <, and with a line's end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

// answer replaces the fields of an Answer.
func (o *object) answer(a *Answer) error {
	b, err := encode(a)
	if err != nil {
		return err
	}
	var fields object
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for _, name := range []string{"got", "state", "expires", "dests", "out", "error"} {
		o.drop(name)
	}
	*o = append(*o, fields...)
	return nil
}

func (o *object) drop(name string) {
	for i, m := range *o {
		if m.name == name {
			*o = append((*o)[:i], (*o)[i+1:]...)
			return
		}
	}
}

func (o object) get(name string) json.RawMessage {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return json.RawMessage("null")
}

func (o object) set(name string, value json.RawMessage) {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
		}
	}
}

// UnmarshalJSON reads an object.
func (o *object) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("not a JSON object: %.40s", b)
	}
	*o = (*o)[:0]
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		m := member{name: t.(string)}
		if err := d.Decode(&m.value); err != nil {
			return err
		}
		*o = append(*o, m)
	}
	return nil
}

// MarshalJSON writes an object, its members in order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := encode(m.name)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), m.value...)
	}
	return append(b, '}'), nil
}
