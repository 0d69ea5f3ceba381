package outbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed templates/*.txt
var embedded embed.FS

// Templates are the texts of mails by the kind of their message. Kinds without one are not mailed.
type Templates map[string]*template.Template

// LoadTemplates returns the texts that the binary contains, each replaced by the file of its name in dir where there is one:
// receipt.txt. A file that no kind asks for is an error, and so is one that cannot be read as a template. dir may be empty.
func LoadTemplates(dir string) (Templates, error) {
	all := Templates{}
	for _, name := range templateFiles() {
		text, err := embedded.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read mail template: %w", err)
		}
		if err := all.add(filepath.Base(name), text); err != nil {
			return nil, err
		}
	}
	if dir == "" {
		return all, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read mail templates: %w", err)
	}
	for _, file := range files {
		kind, ok := strings.CutSuffix(file.Name(), ".txt")
		if !ok || file.IsDir() {
			continue
		}
		if all[kind] == nil {
			return nil, fmt.Errorf("mail template %s: there is no such mail", file.Name())
		}
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, fmt.Errorf("read mail template: %w", err)
		}
		if err := all.add(file.Name(), text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// templateFiles lists what the binary contains.
func templateFiles() []string {
	names, err := fs.Glob(embedded, "templates/*.txt")
	if err != nil {
		panic(err) // of the pattern alone
	}
	return names
}

func kindOf(name string) string { return strings.TrimSuffix(filepath.Base(name), ".txt") }

func (t Templates) add(name string, text []byte) error {
	kind := kindOf(name)
	made, err := template.New(kind).Funcs(template.FuncMap{"money": money, "date": date}).Parse(string(text))
	if err != nil {
		return fmt.Errorf("mail template: %w", err)
	}
	if !bytes.HasPrefix(text, []byte("Subject:")) {
		return fmt.Errorf("mail template %s has no line of the subject at its beginning", name)
	}
	t[kind] = made
	return nil
}

// render fills in a message's payload and returns subject and body.
func (t Templates) render(kind string, payload []byte) (subject, body string, err error) {
	fields := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return "", "", fmt.Errorf("read payload of %s: %w", kind, err)
	}
	var text strings.Builder
	if err := t[kind].Execute(&text, fields); err != nil {
		return "", "", fmt.Errorf("fill in mail template %s: %w", kind, err)
	}
	first, rest, _ := strings.Cut(strings.ReplaceAll(text.String(), "\r\n", "\n"), "\n")
	subject = strings.TrimSpace(strings.TrimPrefix(first, "Subject:"))
	if subject == "" {
		return "", "", fmt.Errorf("mail template %s has no subject", kind)
	}
	return subject, strings.TrimSpace(rest) + "\n", nil
}

// Currencies whose least unit is the whole one, and those with thousandths, by Stripe's list.
var (
	whole      = []string{"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
	thousandth = []string{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// money writes an amount in minor units: 12.50 USD.
func money(amount, currency any) (string, error) {
	number, ok := amount.(json.Number)
	if !ok {
		return "", errors.New("no amount")
	}
	minor, err := number.Int64()
	if err != nil {
		return "", fmt.Errorf("read amount: %w", err)
	}
	code := strings.ToUpper(fmt.Sprint(currency))
	digits := 2
	if slices.Contains(whole, code) {
		digits = 0
	} else if slices.Contains(thousandth, code) {
		digits = 3
	}
	sign := ""
	if minor < 0 {
		sign, minor = "-", -minor
	}
	text := fmt.Sprintf("%0*d", digits+1, minor)
	if digits > 0 {
		text = text[:len(text)-digits] + "." + text[len(text)-digits:]
	}
	return sign + text + " " + code, nil
}

// date writes a time as a day: 2 January 2026.
func date(value any) (string, error) {
	text, ok := value.(string)
	if !ok {
		return "", errors.New("no date")
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", fmt.Errorf("read date: %w", err)
	}
	return at.UTC().Format("2 January 2006"), nil
}
