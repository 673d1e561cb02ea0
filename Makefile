# Every target is one line into local/groundwork, which brings its own Node. `make help` lists them.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
STACK ?= dev
GW := local/groundwork

.PHONY: help up down stop start docs clean test lint format test-engine test-cluster bench chaos scan status url ca kubeconfig token env dev export logs \
	render preview open restore migrate-down dr-drill
.PHONY: load emergency release release-close rollback check audit scan-secrets hooks cloud-login deploy deploy-previous drift smoke restore-drill push-images preview-comment
.PHONY: rotate backup check-manifests checklist images-list check-config certificates bootstrap-azure

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { gsub(/[$$][$$]/, "$$", $$2); printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "CONTEXT=name: the kubeconfig's context of a STACK that makes its own cluster (azure.cluster: create)"

up: ## the dev stack, on a real Kubernetes on this machine; HA=1: three members of Postgres and of the queue; LOGS=1: logs and traces
	@$(GW) up
down: ## destroys the dev stack; the node and the caches stay
	@$(GW) down
stop: ## stops the cluster that `make up` made, with everything on it; nothing is deleted
	@$(GW) stop
start: ## starts it again and waits until everything answers
	@$(GW) start
clean: ## removes the node, the stack's state and every cache of this project
	@$(GW) clean
test: ## lint, types, unit and app tests (with a Postgres and a Redis of their own)
	@$(GW) test
test-engine: ## the real Pulumi engine: up, preview, no change, update, destroy
	@$(GW) test-engine
test-cluster: ## against the running dev stack (`make up` first); SCALERS=1: scaling by KEDA and metrics-server, too
	@$(GW) test-cluster
bench: ## measures into docs/benchmarks.md, about 30 minutes with the dev stack up: PART=name for one part of that page
	@$(GW) bench "$(PART)"
chaos: ## faults under load into docs/reliability.md, against `make up HA=1`: FAULT=name,… (default all) TIMES=n (default 1)
	@$(GW) chaos
scan: ## wapiti and sqlmap against the API through the running dev stack's edge, as each role and as nobody, or as ROLE=; fails on a high finding
	@$(GW) scan "$(ROLE)"
docs: ## writes the generated parts of docs/ (configuration, network flows) from the code
	@$(GW) exec node docs/generate/main.ts
restore: ## FROM=latest|<kind>/<timestamp>, or the data of TO_TIME=<ISO time> (FROM=base/<timestamp> begins with that one), into service: shows the plan; CONFIRM=yes does it
	@$(GW) restore "$(STACK)" "$(FROM)" "$(CONFIRM)" "$(TO_TIME)"
migrate-down: ## takes back the last COUNT (default 1) migrations: shows them; CONFIRM=yes does it; IMAGE=ref if another version brought them
	@$(GW) migrate-down "$(STACK)" "$(COUNT)" "$(IMAGE)" "$(CONFIRM)"
dr-drill: ## loses the dev stack's data tier and restores it: ROWS=n (default 20000) KIB=size of each; prints RPO and RTO
	@$(GW) dr-drill "$(or $(ROWS),20000)" "$(KIB)"
format: ## one format over everything
	@$(GW) exec npx oxfmt
status: ## one look at the health of every workload
	@$(GW) status
logs: ## the latest 20 log lines of every container; APP=name for one workload
	@$(GW) logs $(APP)
url: ## base URL of the edge
	@$(GW) url
ca: ## path of the CA certificate that signed it
	@$(GW) ca
kubeconfig: ## path of the cluster's kubeconfig
	@$(GW) kubeconfig
token: ## a bearer token on the dev stack: ROLE=admin|editor|viewer TENANT=name
	@$(GW) token "$(ROLE)" "$(TENANT)"
env: ## shell settings after which plain pulumi and kubectl work: eval "$$(make -s env)"
	@$(GW) env
dev: ## brings an edit in app/ into the cluster
	@$(GW) dev
export: ## the stack's state as JSON, secrets encrypted
	@$(GW) export
preview: ## what an `up` of dev would change; of STACK=prod, against an empty state, that it runs and keeps the policy
	@$(GW) preview $(STACK)
render: ## YAML of everything STACK=dev|prod would make, into .render/<stack>/
	@$(GW) render $(STACK)
check-config: ## before an `up` of STACK=dev|prod: what is wrong with configuration, cluster, registry, names, vault, connections
	@$(GW) check-config $(STACK)
certificates: ## an authority for inside the cluster of a stack of your own, and its servers' certificates: DIR=directory
	@$(GW) certificates "$(DIR)"
bootstrap-azure: ## prints the az commands for state, its key and GitHub's sign-in: REPO=owner/name STACK=prod
	@$(GW) bootstrap-azure $(if $(filter dev,$(STACK)),prod,$(STACK)) "$(REPO)"
images-list: ## every image of STACK=dev|prod, for a private mirror
	@$(GW) images-list $(STACK)
open: ## forwards Grafana, Prometheus and Alertmanager to this machine
	@$(GW) open
lint: ## rules and types (oxlint), what nothing uses (knip), and the format
	@$(GW) exec npm run --silent lint
check: ## the workflows, as GitHub would read them; what the stacks make, as kube-score sees it
	@$(GW) check
check-manifests: ## what the stacks make, as an API server takes it; against `make up`'s cluster, nothing is kept
	@$(GW) check-manifests
audit: ## secrets in any commit, known vulnerabilities and licences of the packages; 3: something could not be asked
	@$(GW) audit
scan-secrets: ## secrets in any commit; STAGED=1: in what is about to be committed
	@$(GW) scan-secrets
hooks: ## has git run .githooks/pre-commit before each commit
	@git config core.hooksPath .githooks
cloud-login: ## a workflow signs in to Azure by its own token: CLUSTER=group/name REGISTRY=name
	@$(GW) cloud-login
deploy: ## `pulumi up` of STACK=dev|prod with the state at PULUMI_BACKEND_URL; IMAGES="name=reference …" for images to run
	@$(GW) deploy $(STACK) "$(IMAGES)"
deploy-previous: ## the same of the commit that was deployed before this one, which turned out bad
	@$(GW) deploy-previous $(STACK)
drift: ## fails when what STACK=dev|prod runs is not what the program says
	@$(GW) drift $(STACK)
smoke: ## asks URL=https://name for its health, as a client would
	@$(GW) smoke "$(URL)"
restore-drill: ## restores the newest daily or weekly dump of STACK=dev|prod into a scratch server and compares
	@$(GW) restore-drill $(STACK)
push-images: ## builds the images, with bills of materials, into REGISTRY=name
	@$(GW) push-images "$(REGISTRY)"
preview-comment: ## previews of dev and prod, as the one comment of pull request PR=number
	@$(GW) preview-comment "$(PR)"
backup: ## a dump of STACK=dev|prod now, as every hour by itself; KIND=base: a base backup
	@$(GW) backup $(STACK) "$(KIND)"
rotate: ## new passwords on the dev stack, and no request fails: SECRET=postgres|redis|all; run it again if it was interrupted
	@$(GW) rotate "$(or $(SECRET),all)"
checklist: ## what `make release` asks before it begins, of STACK=dev|prod: docs/release-checklist.md
	@$(GW) checklist $(STACK)
release: ## IMAGE=name gets 10, 50, 100 % of the users of STACK=dev|prod, or none
	@$(GW) release $(STACK) "$(IMAGE)"
release-close: ## after the `pulumi up` with it: the version before becomes the warm one
	@$(GW) release-close $(STACK)
rollback: ## all users of STACK=dev|prod to the last good version, at once
	@$(GW) rollback $(STACK)
emergency: ## LEVEL=1 degraded, 2 a function is down (NOTICE="what users are told"; OFF=1: is back), 3 all is down; each has a runbook
	@$(GW) emergency $(STACK) "$(LEVEL)"
load: ## users by k6 against the dev stack: PROFILE=smoke|expected|ten-times, or soak, a Job in the cluster; DURATION=time
	@$(GW) load "$(PROFILE)"
