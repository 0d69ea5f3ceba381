package origin_test

import (
	"errors"
	"testing"

	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/problem"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	list, err := origin.Parse([]string{"https://app.example.com", "http://localhost:3000/", "https://[::1]:8443", "https://PLAIN.example.com:443"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		target string
		ok     bool
	}{
		{"https://app.example.com", true},
		{"https://app.example.com/billing?done=1#top", true},
		{"https://APP.example.com:443/billing", true},
		{"https://plain.example.com/x", true},
		{"http://localhost:3000/cb", true},
		{"https://[::1]:8443/x", true},
		{"http://app.example.com/", false},                   // other scheme
		{"https://app.example.com:8443/", false},             // other port
		{"http://localhost:3001/", false},                    //
		{"https://app.example.com.evil.test/", false},        // a suffix
		{"https://evil.test/https://app.example.com", false}, // in the path
		{"https://app.example.com@evil.test/", false},        // user name
		{"https://user@app.example.com/", false},             //
		{"https://evil.test\\@app.example.com/", false},      // read as a slash by browsers
		{"https:/\\app.example.com", false},                  //
		{"//app.example.com/", false},                        // no scheme
		{"/billing", false},                                  // relative
		{"javascript:alert(1)", false},                       //
		{"https:app.example.com", false},                     // opaque
		{"https://app.example.com/\nSet-Cookie: a", false},   //
		{"", false},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			err := list.Allows("success_url", tt.target)
			if tt.ok != (err == nil) || (err != nil && !errors.Is(err, problem.RedirectNotAllowed)) {
				t.Errorf("Allows(%q): got %v, want ok %t", tt.target, err, tt.ok)
			}
		})
	}
}

func TestZeroListAllowsNothing(t *testing.T) {
	t.Parallel()
	if err := (origin.List{}).Allows("success_url", "https://app.example.com"); !errors.Is(err, problem.RedirectNotAllowed) {
		t.Errorf("got %v, want %v", err, problem.RedirectNotAllowed)
	}
}

func TestAnyOrigin(t *testing.T) {
	t.Parallel()
	list, err := origin.Parse([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Allows("success_url", "http://anything.example:1234/x"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := list.Allows("success_url", "javascript:alert(1)"); !errors.Is(err, problem.RedirectNotAllowed) {
		t.Errorf("got %v, want %v", err, problem.RedirectNotAllowed)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"app.example.com", "https://", "ftp://app.example.com", "https://app.example.com/path", "https://u@app.example.com", "https://app.example.com?x", ""} {
		if _, err := origin.Parse([]string{text}); err == nil {
			t.Errorf("Parse(%q): got nil, want an error", text)
		}
	}
}
