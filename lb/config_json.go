package lb

import (
	"fmt"
	"reflect"

	"github.com/golb/golb/lb/internal/fields"
)

// Every struct of a config is the same in JSON as in YAML: the keys, what is left out
// (zero values), durations as "5s", a check's parameters among its keys. Reading
// refuses what package conf refuses, with ConfigErrors that name every mistake, but does
// not validate; numbers and booleans among a check's parameters become their text.
// Writing fails, with ConfigErrors, on what reading would not give back: an enum's
// unknown value, text that is not UTF-8, a parameter with the name of a field.

func toJSON[T any](v T) ([]byte, error) {
	b, wrong := fields.WriteJSON(reflect.ValueOf(v))
	return b, configErrors(wrong)
}

func fromJSON[T any](b []byte, v *T) error {
	if string(b) == "null" { // as encoding/json asks for
		return nil
	}
	fresh := *v
	wrong, err := fields.ReadJSON(b, reflect.ValueOf(&fresh).Elem())
	if err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	if len(wrong) > 0 {
		return configErrors(wrong)
	}
	*v = fresh
	return nil
}

func configErrors(wrong []fields.Mistake) error {
	if len(wrong) == 0 {
		return nil
	}
	errs := make(ConfigErrors, len(wrong))
	for i, m := range wrong {
		errs[i] = ConfigError(m)
	}
	return errs
}

// MarshalJSON writes the keys that a file has.
func (c Config) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Config) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Group) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Group) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Announce) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Announce) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Service) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Service) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Match) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Match) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Timeouts) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Timeouts) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Persistence) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Persistence) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Server) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Server) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Tunnel) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Tunnel) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Settings) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Settings) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Check) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Check) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Alerts) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Alerts) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c MailAlert) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *MailAlert) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c WebhookAlert) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *WebhookAlert) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c CommandAlert) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *CommandAlert) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Agent) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Agent) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c PassiveCheck) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *PassiveCheck) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }

// MarshalJSON writes the keys that a file has.
func (c Fallback) MarshalJSON() ([]byte, error) { return toJSON(c) }

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Fallback) UnmarshalJSON(b []byte) error { return fromJSON(b, c) }
