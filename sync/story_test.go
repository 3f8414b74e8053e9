package sync

import (
	"context"
	"log/slog"
)

func (s *sim) tell(from, to *node, m message, how string) {}
func (s *sim) line(format string, args ...any)            {}

type teller struct {
	n     *node
	attrs []slog.Attr
}

func (t *teller) Enabled(context.Context, slog.Level) bool  { return false }
func (t *teller) Handle(context.Context, slog.Record) error { return nil }
func (t *teller) WithAttrs([]slog.Attr) slog.Handler        { return t }
func (t *teller) WithGroup(string) slog.Handler             { return t }
