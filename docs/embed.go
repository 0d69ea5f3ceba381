// Package docs carries the documentation that the server itself hands out.
package docs

import (
	_ "embed"
	"strings"
)

//go:embed problems.md
var problems string

// Problem returns the paragraph about a problem's code, as Markdown.
func Problem(code string) (text string, found bool) {
	_, text, found = strings.Cut(problems, "\n### `"+code+"` ")
	if !found {
		return "", false
	}
	for _, heading := range []string{"\n### ", "\n## "} {
		text, _, _ = strings.Cut(text, heading)
	}
	return "# `" + code + "` " + strings.TrimSpace(text) + "\n", true
}
