package serve

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/httpapi"
)

// NewLogger returns the logger of the process: JSON, or text on a terminal. Values under the names that the document marks with
// x-secret show as stars, whoever logs them; a [config.Secret] does so by itself.
func NewLogger(cfg config.Config, out io.Writer) (*slog.Logger, error) {
	secrets, err := httpapi.SecretNames()
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level(cfg.LogLevel), ReplaceAttr: redact(secrets)}
	if cfg.LogFormat == "text" || (cfg.LogFormat == "auto" && terminal(out)) {
		return slog.New(slog.NewTextHandler(out, options)), nil
	}
	return slog.New(slog.NewJSONHandler(out, options)), nil
}

func redact(secrets map[string]bool) func([]string, slog.Attr) slog.Attr {
	return func(_ []string, a slog.Attr) slog.Attr {
		if secrets[strings.ToLower(a.Key)] {
			return slog.String(a.Key, "***")
		}
		return a
	}
}

func level(name string) slog.Level {
	var l slog.Level
	// The configuration admits only names that slog knows.
	_ = l.UnmarshalText([]byte(name))
	return l
}

func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// atLeast drops records below a level: River tells every step of its own at info.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled tells whether a record of this level is wanted.
func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the level.
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup keeps the level.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
