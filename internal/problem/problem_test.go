package problem_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/problem"
)

// Each kind of the catalogue has its paragraph, in the same order and with the same status.
func TestEveryKindIsDocumented(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 3 {
			return true
		}
		code, err := strconv.Unquote(lit.Elts[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, code+" "+lit.Elts[2].(*ast.BasicLit).Value)
		return true
	})
	if len(kinds) < 40 {
		t.Fatalf("found only %d kinds: the test looks at the wrong thing", len(kinds))
	}
	text, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^### `([a-z0-9_]+)` \\((\\d+)\\)$").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	if diff := cmp.Diff(kinds, documented); diff != "" {
		t.Errorf("kinds.go (-) and docs/problems.md (+) differ:\n%s", diff)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused at 10.0.0.7")
	tests := []struct {
		name   string
		err    error
		want   *problem.Kind
		detail string
	}{
		{"a problem", problem.NotFound.Errorf("no key"), problem.NotFound, "no key"},
		{"a wrapped problem", fmt.Errorf("get key: %w", problem.NotFound.Errorf("no key")), problem.NotFound, "no key"},
		{"a bare kind", fmt.Errorf("get key: %w", problem.NotFound), problem.NotFound, ""},
		{"anything else says nothing", cause, problem.Internal, ""},
		{"a cause is not shown", problem.StripeFailed.Errorf("try again").Because(cause), problem.StripeFailed, "try again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := problem.Of(tt.err)
			if p.Kind != tt.want || p.Detail != tt.detail {
				t.Errorf("got %s %q, want %s %q", p.Kind.Code, p.Detail, tt.want.Code, tt.detail)
			}
			if tt.want != problem.Internal && !errors.Is(tt.err, tt.want) {
				t.Errorf("errors.Is(%v, %s) does not hold", tt.err, tt.want.Code)
			}
		})
	}
	if !errors.Is(problem.StripeFailed.Errorf("x").Because(cause), cause) {
		t.Error("the cause is lost for the log")
	}
}
