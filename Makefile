# make up        install what is missing, start Backstay, show a PostgreSQL service from marketplace to query
# make down      stop it; all data stays
# make test      everything that must hold
# make test-engines  a part of what MongoDB and Elasticsearch must hold, with servers that it fetches
# make test-other  what takes what this machine does not have: the engines' tests with MySQL, Valkey, FerretDB and OpenSearch, Terraform's provider,
#                  a service broker written with Spring, all journeys with our two ends back to back, control groups and encrypted volumes by another kernel
# make test-kubernetes  what runs on Kubernetes, on a cluster that it makes itself: the first time takes ten minutes more
# make kubernetes-up    such a cluster to try things on, until ^C
# make race      the rooms in which goroutines meet, with the race detector; make test draws some of them
# make check     format, vet, staticcheck and the import picture; part of make test
# make bench     the benchmark table
# make clean-data  delete all data, after asking
#
# DATA=dir and PORT=n keep two Backstays apart: make up DATA=/tmp/other PORT=7481. Databases get a hundred
# ports that depend on n, the same for n and n + 100.

export DATA PORT

CF_VERSION = 8.18.0

.PHONY: up down test ready fetched programs race test-engines large bin/other/mongodb bin/other/search test-other test-kubernetes kubernetes-backend kubernetes-journeys kubernetes-up check bench bench-kubernetes clean-data setup clients build backstay plugin plugins

up: setup backstay bin/cf plugin
	@scripts/up

down: backstay
	@bin/backstay stop $(if $(DATA),--data '$(DATA)')

# Of thousands of processes that tests start and kill side by side, one is late now and then. A test that fails so is run
# once more, with the others at rest: what fails then too has failed. Each is told of: it is to be mended all the same.
GOTEST = scripts/scratch go tool gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=5 \
	--rerun-fails-abort-on-data-race

# A compiler that collects its garbage less often takes a sixth less of the processors.
COMPILE = GOGC=400 go

# Those that take longest begin first: what is begun last is waited for alone.
LONGEST = ./e2e ./keeper ./engine/postgres ./engine/mysql ./broker

# Tests wait more than they work, for disks and for processes: more of them at once than there are cores.
test: ready
	$(GOTEST) --packages '$(LONGEST) ./...' -- -vet=off -count=1 -parallel 4 -timeout 45m
	@$(MAKE) --no-print-directory race $(if $(BACKSTAY_TEST_EVERY_STEP),,ROOMS="$$(shuf -n 4 -e $(CONCURRENT) | paste -s -d ' ')")

# What comes over the network is waited for beside the compiler, which makes one program after the other: two at once would
# both compile what they share.
ready:
	@$(MAKE) --no-print-directory -j2 --output-sync=target fetched programs

fetched:
	@scripts/setup tests

programs:
	@MAKEFLAGS= $(MAKE) --no-print-directory backstay bin/cf bin/versitygw plugin check

# The detector slows what it watches down, so it watches a second and short pass, over what has goroutines of its own. All
# tests of the keeper with it alone took more of the processors than both passes do. Each make test draws some rooms;
# make test-other has all.
CONCURRENT = ./internal/process ./internal/datadir ./internal/seal ./state ./uaa ./market/... ./broker/... \
	./keeper/... ./backend/local ./endpoint/... ./tunnel ./cfapi ./osb ./tenant ./plugins
ROOMS = $(CONCURRENT)

race:
	@if [ "$$(go env CGO_ENABLED)" = 1 ]; then \
		set -ex; $(COMPILE) build -race $(ROOMS); \
		$(GOTEST) --packages '$(ROOMS)' -- -race -short -vet=off -count=1 -parallel 4 -timeout 30m; \
	else echo "There is no C compiler: nothing is tried with the race detector. Type: apt-get install gcc libc6-dev"; fi

# MongoDB and Elasticsearch are tried with servers too large to be fetched by everybody who types make test.
LARGE = BACKSTAY_TEST_MONGODB='$(CURDIR)/bin/other/mongodb' BACKSTAY_TEST_OPENSEARCH='$(CURDIR)/bin/other/search'

test-engines: clients backstay bin/cf plugin large
	$(LARGE) $(GOTEST) --packages './engine/mongodb/... ./engine/opensearch/...' -- -vet=off -count=1 -parallel 2 -timeout 30m
	$(LARGE) $(GOTEST) --packages ./e2e -- -vet=off -count=1 -parallel 2 -timeout 30m \
		-run 'TestScripts/^(mongodb|failover-mongodb|elasticsearch)$$'

large:
	@scripts/setup large
	@$(MAKE) --no-print-directory -j2 --output-sync=target bin/other/mongodb bin/other/search

bin/other/mongodb bin/other/search:
	scripts/other-$(@F) $@

test-other: setup plugins large
	@$(MAKE) --no-print-directory race
	scripts/other-servers bin/other
	BACKSTAY_TEST_MYSQL='$(CURDIR)/bin/other/mysql/usr' go test -count=1 ./engine/mysql
	BACKSTAY_TEST_MYSQL='$(CURDIR)/bin/other/mysql/usr' go test -count=1 -run 'TestFullInstance$$' ./keeper
	BACKSTAY_TEST_REDIS='$(CURDIR)/bin/other/valkey/usr/bin' go test -count=1 ./engine/redis
	scripts/other-clients bin/other/terraform
	scripts/other-kernel bin/other/kernel
	BACKSTAY_TEST_TERRAFORM='$(CURDIR)/bin/other/terraform' go test -count=1 -run TestTerraformProvider ./e2e
	scripts/other-broker bin/other/spring
	BACKSTAY_TEST_EVERY_STEP=yes $(LARGE) go test -count=1 -timeout 60m -parallel 2 ./engine/mongodb/... ./engine/opensearch/...
	BACKSTAY_TEST_EVERY_STEP=yes $(LARGE) go test -count=1 -timeout 180m -parallel 4 $(LONGEST) ./backend/local
	BACKSTAY_TEST_SPRING='$(CURDIR)/bin/other/spring' go test -count=1 -run 'TestScripts/spring$$' ./e2e

# What a cluster consists of is made once, in the user's cache; nothing of it is in the tree. Tests of faults wait more than
# they work: two clusters side by side take little longer than one.
test-kubernetes: clients backstay bin/cf
	made=$$(scripts/kubernetes) && export BACKSTAY_TEST_KUBERNETES=$$made && \
		$(MAKE) --no-print-directory -j2 kubernetes-backend kubernetes-journeys

kubernetes-backend:
	$(GOTEST) --packages ./backend/kubernetes -- -vet=off -count=1 -timeout 40m -parallel 3

kubernetes-journeys:
	$(GOTEST) --packages ./e2e -- -vet=off -count=1 -timeout 40m -parallel 2 -run '^TestKubernetes'

kubernetes-up: clients
	made=$$(scripts/kubernetes) && go test -c -o bin/kubetest.test ./internal/kubetest && \
		BACKSTAY_TEST_KUBERNETES=$$made BACKSTAY_TEST_KUBERNETES_BY_HAND=yes \
		exec bin/kubetest.test -test.run 'TestByHand$$' -test.timeout 0

check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w $$unformatted"; exit 1; fi
	$(COMPILE) vet ./...
	$(COMPILE) tool staticcheck ./...
	go test -count=1 ./internal/archtest

bench: build
	@scripts/setup bench
	go test -run '^$$' -bench . ./...

bench-kubernetes: clients build
	made=$$(scripts/kubernetes) && \
		BACKSTAY_TEST_KUBERNETES=$$made go test -run '^$$' -bench . -timeout 60m ./backend/kubernetes

clean-data: backstay
	@scripts/clean-data

setup:
	@scripts/setup

clients: bin/versitygw fetched # and what only tests need

bin/versitygw: tools/s3/go.mod tools/s3/go.sum
	$(COMPILE) build -C tools/s3 -o ../../bin/versitygw -ldflags '-s -w' github.com/versity/versitygw/cmd/versitygw

build: backstay bin/cf plugins

backstay: # go build knows best what is stale
	$(COMPILE) build -o bin/backstay ./cmd/backstay

plugins: # for every cf that there is, under its own names for where it runs
	@scripts/plugins bin/plugins

plugin: # for a cf on this machine, which is a seventh of the work
	@scripts/plugins bin/plugins here

bin/cf: tools/cf/go.mod tools/cf/go.sum
	$(COMPILE) build -C tools/cf -o ../../bin/cf \
		-ldflags '-s -w -X code.cloudfoundry.org/cli/v8/version.binaryVersion=$(CF_VERSION)' code.cloudfoundry.org/cli/v8
