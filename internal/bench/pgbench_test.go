package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

var tps = regexp.MustCompile(`tps = ([0-9.]+) \((?:without|excluding)`)

// pgbench runs a script n times in all, from as many clients as there are callers, on the database of the pool.
func pgbench(b *testing.B, path string, pool *pgxpool.Pool, n int, script string) sample {
	b.Helper()
	file := filepath.Join(b.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--no-vacuum", "--protocol=prepared", "--client="+strconv.Itoa(callers),
		"--transactions="+strconv.Itoa(n/callers), "--file="+file)
	c := pool.Config().ConnConfig
	cmd.Env = append(os.Environ(), "PGHOST="+c.Host, fmt.Sprintf("PGPORT=%d", c.Port), "PGUSER="+c.User, "PGPASSWORD="+c.Password,
		"PGDATABASE="+c.Database)
	out, err := cmd.CombinedOutput()
	found := tps.FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	figure, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return sample{figure: figure}
}
