# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The tools are pinned in tools/go.mod, apart from the server's own modules.
TOOLS   := .tools
TOOLMOD := go build -modfile=tools/go.mod -o $(TOOLS)/
DEVDB   := .saaskit/bin/devdb
DEV     := .saaskit/bin/saaskit-dev

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## run everything on this machine: PostgreSQL, Redis, sign-in, Stripe and the server
	@mkdir -p .saaskit/bin
	@go build -o $(DEV) ./cmd/saaskit-dev
	@exec $(DEV)

.PHONY: demo
demo: ## walk through the main job against a running `make dev`, request by request
	@cd sdk/go && go run ./cmd/demo -env ../../.saaskit/dev.env

.PHONY: test
test: devdb ## run all tests on a real PostgreSQL and Redis, fetching both if need be
	@$(DEVDB) -test -- go test -timeout 25m ./...
	@cd sdk/go && go test ./...

.PHONY: check
check: generate lint vet-sql tidy sdk-test race clean-tree ## generate, lint, vet SQL, test with the race detector, tidy, clean tree

.PHONY: race
race: devdb ## run all tests with the race detector, which needs a C compiler, and in random order
	@command -v $$(go env CC) > /dev/null || { echo "The race detector needs a C compiler: apt-get install gcc, or xcode-select --install"; exit 1; }
	@$(DEVDB) -test -- go test -timeout 25m -race -shuffle=on ./...
	@cd sdk/go && go test -race -shuffle=on ./...

.PHONY: tidy
tidy: ## fail where go.mod lists what is not needed, or lacks what is
	@go mod tidy -diff
	@cd sdk/go && go mod tidy -diff

.PHONY: clean-tree
clean-tree: ## fail where generated code or anything else differs from what is committed
	@test -z "$$(git status --porcelain)" || { git status --short; git --no-pager diff --stat; echo "The tree is not clean: commit what 'make generate' made."; exit 1; }

.PHONY: sdk-test
sdk-test: ## check and test the TypeScript client by itself; the tests of the server run it against one
	@cd sdk/typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent check && npm test

.PHONY: bench
bench: devdb ## measure against a floor in the same run
	@$(DEVDB) -test -- go test -run '^$$' -bench "^BenchmarkRatios$$" -benchtime 1x -timeout 20m ./internal/bench

.PHONY: fuzz
fuzz: devdb ## fuzz each fuzz target for FUZZTIME (30s), and lead lives of accounts for as long
	@$(DEVDB) -test -- bash -euo pipefail -c 'failed=; \
		echo "== ./internal/stripehook TestC51Lives"; \
		SAASKIT_LIVES=$${FUZZTIME:-30s} go test -timeout 0 -count 1 -v -run "^TestC51Lives$$" ./internal/stripehook || failed=" TestC51Lives"; \
		for p in $$(go list ./...); do \
		listed=$$(go test -list "^Fuzz" $$p); \
		for f in $$(grep "^Fuzz" <<< "$$listed" || true); do \
			echo "== $$p $$f"; go test -run "^$$f$$" -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-30s} $$p || failed="$$failed $$f"; done; done; \
		test -z "$$failed" || { echo "Failed:$$failed"; exit 1; }'

.PHONY: lives
lives: devdb ## lead LIVES (1000) lives of accounts with Stripe through deaths and disorder
	@SAASKIT_LIVES=$${LIVES:-1000} $(DEVDB) -test -- go test -timeout 0 -count 1 -v -run '^TestC51Lives$$' ./internal/stripehook

.PHONY: generate
generate: $(TOOLS)/oapi-codegen $(TOOLS)/sqlc sdk/typescript/node_modules ## write internal/api, internal/db and the clients
	@rm -rf internal/api internal/db && mkdir -p internal/api internal/db
	@$(TOOLS)/oapi-codegen -config oapi-codegen.yaml api/openapi.yaml
	@$(TOOLS)/sqlc generate
	@$(TOOLS)/oapi-codegen -config sdk/go/oapi-codegen.yaml api/openapi.yaml
	@cd sdk/typescript && npm run --silent generate

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## lint the Go code
	@$(TOOLS)/golangci-lint run ./...
	@go vet -tags stripe ./internal/stripeemu
	@cd sdk/go && ../../$(TOOLS)/golangci-lint run --config ../../.golangci.yaml ./...

.PHONY: vet-sql
vet-sql: devdb $(TOOLS)/sqlc ## prepare every query on a migrated database
	@$(DEVDB) -test -migrate -- $(TOOLS)/sqlc vet -f sqlc.vet.yaml

.PHONY: psql
psql: ## open psql on the database of `make dev`
	@test -f .saaskit/dev.env || { echo "Run 'make dev' first."; exit 1; }
	@command -v psql > /dev/null || { echo "psql is not installed: apt-get install postgresql-client, or brew install libpq"; exit 1; }
	@. .saaskit/dev.env && exec psql "$$DATABASE_URL"

.PHONY: reset
reset: ## delete the data of `make dev`
	@read -r -p "Delete the development data in .saaskit? [y/N] " answer; \
	if [ "$$answer" = y ]; then mkdir -p .saaskit/bin && go build -o $(DEV) ./cmd/saaskit-dev && $(DEV) -reset; \
	else echo "Nothing was deleted."; fi

.PHONY: rename
rename: ## move the module to another path: make rename MODULE=github.com/you/yours
	@test -n "$(MODULE)" || { echo "usage: make rename MODULE=github.com/you/yours"; exit 2; }
	@old=$$(go list -m) && git ls-files -z '*.go' '*go.mod' '*.yaml' '*.md' Makefile | xargs -0 perl -pi -e "s{\Q$$old\E(?=[/\"\`\s]|\$$)}{$(MODULE)}g" && gofmt -l -w $$(git ls-files '*.go') && go build ./...

# Built first instead of go run, which loses signals and exit codes. Go itself knows whether there is something to build.
.PHONY: devdb
devdb:
	@go build -o $(DEVDB) ./cmd/devdb

$(TOOLS)/oapi-codegen: tools/go.sum
	@$(TOOLMOD) github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen && touch $@
$(TOOLS)/sqlc: tools/go.sum
	@$(TOOLMOD) github.com/sqlc-dev/sqlc/cmd/sqlc && touch $@
$(TOOLS)/golangci-lint: tools/go.sum
	@$(TOOLMOD) github.com/golangci/golangci-lint/v2/cmd/golangci-lint && touch $@
sdk/typescript/node_modules: sdk/typescript/package-lock.json
	@cd sdk/typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules
