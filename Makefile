# The targets are listed by make alone.
.DEFAULT_GOAL := help
DEVDB := .saaskit/bin/devdb

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: devdb ## run all tests on a real PostgreSQL and Redis, fetching both if need be
	@$(DEVDB) -test -- go test $(TESTFLAGS) ./...

# Built first instead of go run, which loses signals and exit codes. Go itself
# knows whether there is something to build.
.PHONY: devdb
devdb:
	@go build -o $(DEVDB) ./cmd/devdb
