package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A Mistake is one thing that is wrong in catalog.yaml.
type Mistake struct {
	Line    int
	Message string
}

// Mistakes is the error of a catalog.yaml that cannot be used: everything that is wrong with it, by line.
type Mistakes []Mistake

// Error gives one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = fmt.Sprintf("line %d: %s", one.Line, one.Message)
	}
	return strings.Join(lines, "\n")
}

// A reader takes a document apart and goes on after a mistake. go-yaml's own decoder stops at the first.
type reader struct{ mistakes Mistakes }

func (r *reader) fail(line int, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return r.mistakes
}

// fields is one mapping: its values by name, and where it is.
type fields struct {
	r      *reader
	what   string // as messages call it
	line   int
	values map[string]ast.Node
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // the token of a mapping is its first colon, which may be lines further down
	}
	return n.GetToken().Position.Line
}

// open reads a mapping whose keys are all among known; nil known takes any.
func (r *reader) open(n ast.Node, what string, known ...string) fields {
	f := fields{r: r, what: what, line: lineOf(n), values: map[string]ast.Node{}}
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		r.fail(f.line, "%s has to be a mapping", what)
		return f
	}
	for _, e := range entries {
		name := e.Key.GetToken().Value
		if len(known) > 0 && !slices.Contains(known, name) {
			r.fail(lineOf(e.Key), "%s has no setting %q; there are %s", what, name, strings.Join(known, ", "))
			continue
		}
		f.values[name] = e.Value
	}
	return f
}

// names returns the keys of the mapping in the order of their lines.
func (f fields) names() []string {
	names := make([]string, 0, len(f.values))
	for name := range f.values {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(f.lineOf(a), f.lineOf(b)), cmp.Compare(a, b))
	})
	return names
}

func (f fields) has(name string) bool { _, ok := f.values[name]; return ok }

func (f fields) lineOf(name string) int {
	if n, ok := f.values[name]; ok {
		return lineOf(n)
	}
	return f.line
}

func (f fields) required(name string) (ast.Node, bool) {
	n, ok := f.values[name]
	if !ok {
		f.r.fail(f.line, "%s lacks %q", f.what, name)
	}
	return n, ok
}

// text reads a required text of at most limit bytes.
func (f fields) text(name string, limit int) string {
	n, ok := f.required(name)
	if !ok {
		return ""
	}
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = strings.TrimSpace(n.Value)
	case *ast.LiteralNode:
		text = strings.TrimSpace(n.Value.Value)
	default:
		f.r.fail(lineOf(n), "%s of %s has to be a text (in quotes, if it looks like something else)", name, f.what)
		return ""
	}
	if text == "" || len(text) > limit {
		f.r.fail(lineOf(n), "%s of %s has to have 1 to %d characters", name, f.what, limit)
	}
	return text
}

// optionalText is text for a setting that may be left out.
func (f fields) optionalText(name string, limit int) string {
	if !f.has(name) {
		return ""
	}
	return f.text(name, limit)
}

// number reads a required whole number within limits.
func (f fields) number(name string, low, high int64) int64 {
	n, ok := f.required(name)
	if !ok {
		return low
	}
	i, isNumber := n.(*ast.IntegerNode)
	if isNumber {
		v, err := strconv.ParseInt(strings.ReplaceAll(i.GetToken().Value, "_", ""), 10, 64)
		if err == nil && v >= low && v <= high {
			return v
		}
	}
	f.r.fail(lineOf(n), "%s of %s has to be a whole number from %d to %d", name, f.what, low, high)
	return low
}

// flag reads an optional yes or no.
func (f fields) flag(name string) bool {
	n, ok := f.values[name]
	if !ok {
		return false
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		f.r.fail(lineOf(n), "%s of %s has to be true or false", name, f.what)
		return false
	}
	return b.Value
}

// list reads an optional list.
func (f fields) list(name string) []ast.Node {
	n, ok := f.values[name]
	if !ok {
		return nil
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		f.r.fail(lineOf(n), "%s of %s has to be a list", name, f.what)
		return nil
	}
	return s.Values
}
