package main

import (
	"errors"
	"io"
	"log/slog"
	"os"

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

// newLogger logs text for people and JSON for programs.
func newLogger(w io.Writer, level slog.Leveler, text bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
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
