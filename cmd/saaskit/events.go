package main

import (
	"context"
	"fmt"
	"strings"

	"example.com/saaskit/internal/stripehook"
)

// runEvents prints what to register at Stripe: one type a line, for a script as well as for a person.
func runEvents(_ context.Context, p process, args []string) error {
	if len(args) != 1 || args[0] != "types" {
		return p.wrongUsage("events knows: types")
	}
	_, err := fmt.Fprintln(p.stdout, strings.Join(stripehook.EventTypes(), "\n"))
	return err
}
