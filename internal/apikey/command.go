package apikey

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
)

// Usage is the help of [Service.Command].
const Usage = `saaskit keys create --service --scope credits,usage [--name NAME] [--expires 90d] [--ip 192.0.2.0/24]
saaskit keys list
saaskit keys revoke ID
`

// ErrUsage is returned by [Service.Command] for arguments that make no sense.
var ErrUsage = errors.New("see the usage above")

// Command runs `saaskit keys …` for the operator. A new secret is all that goes to stdout, so that it can be piped into a
// secret store; what is said about it goes to stderr.
func (s *Service) Command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, Usage)
		return ErrUsage
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "create":
		return s.commandCreate(ctx, rest, stdout, stderr)
	case "list":
		return s.commandList(ctx, rest, stdout, stderr)
	case "revoke":
		return s.commandRevoke(ctx, rest, stderr)
	default:
		fmt.Fprint(stderr, Usage)
		return fmt.Errorf("there is no %q: %w", verb, ErrUsage)
	}
}

func (s *Service) commandCreate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("saaskit keys create", flag.ContinueOnError)
	flags.SetOutput(stderr)
	service := flags.Bool("service", false, "make a key that works for any account (accounts make their own through the API)")
	name := flags.String("name", "service", "what the key is for")
	expires := flags.String("expires", "", "when it ends: 90d, 12h or a time like 2027-01-31T00:00:00Z; never where it is left out")
	var scopes, ips list
	flags.Var(&scopes, "scope", "what it may do, by comma: "+strings.Join(ServiceScopes(), ", "))
	flags.Var(&ips, "ip", "addresses or networks that may use it, by comma; any where it is left out")
	if err := flags.Parse(args); err != nil {
		return errors.Join(ErrUsage, err)
	}
	if !*service || flags.NArg() > 0 {
		fmt.Fprint(stderr, Usage)
		return fmt.Errorf("--service is missing or something is too much: %w", ErrUsage)
	}
	expiresAt, err := s.moment(*expires)
	if err != nil {
		return err
	}
	created, err := s.CreateService(ctx, Wish{Name: *name, Scopes: scopes, ExpiresAt: expiresAt, AllowedIPs: ips}, audit.Operator("keys create"))
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "Made key %s with %s. Its secret is shown this once:\n", created.ID, strings.Join(created.Scopes, ", "))
	_, err = fmt.Fprintln(stdout, string(created.Secret))
	return err
}

func (s *Service) commandList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		fmt.Fprint(stderr, Usage)
		return ErrUsage
	}
	keys, err := s.ListService(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tSTART\tSCOPES\tEXPIRES\tLAST USED")
	for _, k := range keys {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Start, strings.Join(k.Scopes, ","), shown(k.ExpiresAt), shown(k.LastUsedAt))
	}
	return table.Flush()
}

func shown(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

func (s *Service) commandRevoke(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) != 1 {
		fmt.Fprint(stderr, Usage)
		return ErrUsage
	}
	id, err := uuid.Parse(args[0])
	if err != nil {
		return fmt.Errorf("%q is no id: %w", args[0], ErrUsage)
	}
	if err := s.RevokeAny(ctx, id, audit.Operator("keys revoke")); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "Key %s is revoked.\n", id)
	return nil
}

// moment reads a time, or a time from now on.
func (s *Service) moment(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // never
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return &at, nil
	}
	const day, longest = 24 * time.Hour, 36500
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.Atoi(digits); err == nil && days > 0 && days <= longest {
			at := s.now().Add(time.Duration(days) * day)
			return &at, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		at := s.now().Add(d)
		return &at, nil
	}
	return nil, fmt.Errorf("--expires %q is neither 90d nor 12h nor a time like 2027-01-31T00:00:00Z: %w", text, ErrUsage)
}

// A list is a flag that takes several values, by comma or repeated.
type list []string

// String joins the values.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds values.
func (l *list) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}
