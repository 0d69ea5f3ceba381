package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/serve"
)

func runServe(ctx context.Context, p process, args []string) error {
	if len(args) > 0 {
		return p.wrongUsage("serve takes no arguments")
	}
	cfg, err := load(p)
	if err != nil {
		return err
	}
	log, err := serve.NewLogger(cfg, p.stderr)
	if err != nil {
		return err
	}
	return serve.Run(ctx, cfg, log, serve.Options{})
}

func load(p process) (config.Config, error) {
	cfg, err := config.Load(p.getenv)
	if err != nil {
		return cfg, fmt.Errorf("the settings are not right:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return cfg, nil
}

// runConfig shows the settings even where some are wrong, and then the mistakes.
func runConfig(_ context.Context, p process, args []string) error {
	cfg, err := load(p)
	markdown := len(args) == 1 && args[0] == "-markdown"
	if len(args) > 0 && !markdown {
		return p.wrongUsage("config takes -markdown or nothing")
	}
	for _, row := range cfg.Rows() {
		switch {
		case markdown:
			fmt.Fprintf(p.stdout, "| `%s` | %s | %s | %s |\n", row.Name, code(row.Default), row.Limits, row.Help)
		case row.Limits == "":
			fmt.Fprintf(p.stdout, "%-26s %s\n", row.Name, row.Value)
		default:
			fmt.Fprintf(p.stdout, "%-26s %-20s (%s)\n", row.Name, row.Value, row.Limits)
		}
	}
	if markdown {
		return nil
	}
	return err
}

func code(v string) string {
	if v == "" {
		return ""
	}
	return "`" + v + "`"
}

func runVersion(_ context.Context, p process, args []string) error {
	if len(args) > 0 {
		return p.wrongUsage("version takes no arguments")
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				version += " " + s.Value
			}
		}
	}
	fmt.Fprintln(p.stdout, "saaskit", version)
	return nil
}
