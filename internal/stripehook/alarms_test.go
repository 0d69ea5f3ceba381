package stripehook_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/stripehook"
)

// sources reads the code of packages, without their tests.
func sources(t *testing.T, dirs ...string) (files []*ast.File) {
	t.Helper()
	for _, dir := range dirs {
		names, err := fs.Glob(os.DirFS(dir), "*.go")
		if err != nil || len(names) == 0 {
			t.Fatalf("%s has %d files, %v", dir, len(names), err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	return files
}

// text is the value of a literal, or of one of the constants.
func text(e ast.Expr, constants map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		value, err := strconv.Unquote(e.Value)
		return value, err == nil
	case *ast.Ident:
		value, ok := constants[e.Name]
		return value, ok
	}
	return "", false
}

// name is what is called or named, without what it belongs to.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// Every reason that the code alarms with has a counter from the beginning, and no counter is of a reason that is none.
func TestEveryAlarmHasItsCounter(t *testing.T) {
	t.Parallel()
	files, constants, reasons := sources(t, ".", "../billing"), map[string]string{}, map[string]bool{}
	each := func(see func(ast.Node)) {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool { see(n); return true })
		}
	}
	each(func(n ast.Node) {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
			for i, value := range v.Values {
				if s, ok := text(value, nil); ok {
					constants[v.Names[i].Name] = s
				}
			}
		}
	})
	// A reason that comes from elsewhere is an argument of the alarm's own function, or that of a quarantine, which is found below.
	passed := []string{"reason", "Reason"}
	// After the state of quarantine comes its reason, whether it is returned or kept.
	quarantined := func(list []ast.Expr) {
		for i := range len(list) - 1 {
			if name(list[i]) == "statusQuarantined" {
				if s, ok := text(list[i+1], constants); ok {
					reasons[s] = true
				} else if !slices.Contains(passed, name(list[i+1])) {
					t.Errorf("a quarantine for %#v: no reason that can be read", list[i+1])
				}
			}
		}
	}
	each(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.ReturnStmt:
			quarantined(n.Results)
			for i, result := range n.Results { // what an envelope is quarantined for by whoever reads it
				if ignored := i > 0 && name(n.Results[i-1]) == "statusIgnored"; strings.HasPrefix(name(result), "reason") && !ignored {
					if s, ok := text(result, constants); ok {
						reasons[s] = true
					}
				}
			}
		case *ast.CompositeLit:
			if name(n.Type) == "ending" {
				quarantined(n.Elts)
			}
		case *ast.CallExpr:
			if !slices.Contains([]string{"alarm", "Alarm", "tellOperator", "withhold"}, name(n.Fun)) {
				return
			}
			args := n.Args
			if name(args[0]) == "ctx" {
				args = args[1:]
			}
			if s, ok := text(args[0], constants); ok {
				reasons[s] = true
			} else if !slices.Contains(passed, name(args[0])) {
				t.Errorf("an alarm for %#v: no reason that can be read", args[0])
			}
		case *ast.BinaryExpr: // what is no quarantine and alarms all the same
			if name(n.X) == "reason" && name(n.Y) == "reasonGone" {
				reasons[constants["reasonGone"]] = true
			}
		}
	})
	var want []string
	for reason := range reasons {
		want = append(want, reason)
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(stripehook.AlarmReasons()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alarmReasons (-code +list):\n%s", diff)
	}
}
