package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/golb/golb/lb/conf"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// logFormat is how the log is written.
type logFormat string

// The formats. Auto is text on a terminal, and JSON elsewhere.
const (
	formatAuto logFormat = "auto"
	formatText logFormat = "text"
	formatJSON logFormat = "json"
)

func (f *logFormat) String() string { return string(*f) }
func (f *logFormat) Type() string   { return "format" }

func (f *logFormat) Set(s string) error {
	switch logFormat(s) {
	case formatAuto, formatText, formatJSON:
		*f = logFormat(s)
		return nil
	}
	return errors.New("allowed: auto, text or json")
}

// isText reports whether a log to w is text.
func (f logFormat) isText(w io.Writer) bool {
	return f == formatText || f == formatAuto && isTerminal(w)
}

// logLevel is the least level that is logged.
type logLevel slog.Level

func (l *logLevel) Type() string { return "level" }

func (l *logLevel) Set(s string) error {
	if (*slog.Level)(l).UnmarshalText([]byte(s)) != nil {
		return errors.New("allowed: debug, info, warn or error")
	}
	return nil
}

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

// newLogger logs text for people or JSON for programs, with times in milliseconds.
func newLogger(w io.Writer, level slog.Leveler, text bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindTime {
			a.Value = slog.StringValue(a.Value.Time().Format("2006-01-02T15:04:05.000Z07:00"))
		}
		return a
	}}
	if text {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// logMistakes logs each mistake of a config by itself, any other error as it is.
func logMistakes(log *slog.Logger, err error) {
	var mistakes conf.Errors
	if !errors.As(err, &mistakes) {
		log.Error(err.Error())
		return
	}
	for _, m := range mistakes {
		attrs := []any{"file", m.File, "line", m.Line, "column", m.Column, "path", m.Path}
		if m.Value != "" {
			attrs = append(attrs, "value", m.Value)
		}
		if m.Allowed != "" {
			attrs = append(attrs, "allowed", m.Allowed)
		}
		log.Error(m.Problem, attrs...)
	}
}
