// Package sql carries the migrations of the database, so that the binary can bring a database up to date by itself.
package sql

import "embed"

// Migrations holds migrations/*.sql in goose's format.
//
//go:embed migrations/*.sql
var Migrations embed.FS
