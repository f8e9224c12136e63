# Two commands matter: `make demo` and `make test`. Both set up all they need on a fresh Debian or Ubuntu.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo || echo no-sudo)
PYTHON ?= python3
BIN := .venv/bin
INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
SILENT = >$(LOG) 2>&1 || { tail -n 20 $(LOG); exit 1; }
LOG := .setup.log

.PHONY: help demo test test-long lint bench docs migration stop clean system system-test system-long installed

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.ready maps/assets/vendor/.ready  ## set everything up and serve the sample town
	@exec $(BIN)/jingwei demo

# Two at once: each waits for PostgreSQL and Chromium half of its time.
test: system-test .venv/.ready-dev .venv/.ready-browser maps/assets/vendor/.ready  ## set everything up and run every test
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "not long" -n 2 --dist worksteal $(ARGS)

test-long: system-test system-long .venv/.ready-dev maps/assets/vendor/.ready  ## the tests that take minutes: images, campaigns
	@$(BIN)/python -m pytest -m long $(ARGS)

lint: .venv/.ready-dev  ## style, types, imports
	@$(BIN)/ruff check geo api maps tests bench data
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/.ready-dev  ## measure side by side with plain SQL and peers
	@$(BIN)/python -m bench $(ARGS)

docs: .venv/.ready  ## write the generated reference pages
	@$(BIN)/jingwei docs

migration: .venv/.ready  ## draft a migration: make migration m="what changes"
	@$(BIN)/jingwei migration "$(m)"

stop:  ## stop the server and the private database
	@[ ! -x $(BIN)/jingwei ] || $(BIN)/jingwei stop

clean: stop  ## remove what was set up here; the private database stays in .jingwei
	@rm -rf .venv node_modules maps/assets/vendor $(LOG)

# What the distribution has to bring. Only what is missing is installed. PostgreSQL's packages would start a cluster of
# their own and open a port: they are told not to before they come, and nothing of that stays behind.
QUIETLY := /etc/postgresql-common/createcluster.d/jingwei.conf
system:
	@missing=""; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing="$$missing python3"; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	fit=$${JINGWEI_DATABASE_URL:-}; \
	for server in /usr/lib/postgresql/*/bin/initdb; do \
	  major=$$(basename "$${server%/bin/initdb}"); \
	  [ ! -e "/usr/share/postgresql/$$major/extension/postgis.control" ] || [ "$$major" -lt 15 ] || fit=$$server; \
	done; \
	[ -n "$$fit" ] || missing="$$missing postgresql-postgis"; \
	$(MAKE) installed missing="$$missing"

BROWSER := { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
system-test: system
	@missing=""; \
	$(BROWSER) || grep -qi '^ID=ubuntu' /etc/os-release || missing="$$missing chromium"; \
	ls /usr/share/fonts/opentype/noto/NotoSansCJK*.ttc >/dev/null 2>&1 || missing="$$missing fonts-noto-cjk"; \
	ls /usr/lib/*/libarchive.so.13 >/dev/null 2>&1 || missing="$$missing libarchive13"; \
	ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1 || missing="$$missing libatomic1"; \
	command -v ogrinfo >/dev/null || missing="$$missing gdal-bin"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	$(MAKE) installed missing="$$missing"

# Where no container engine answers, images are built without one.
system-long: system-test
	@missing=""; \
	docker info >/dev/null 2>&1 || { command -v buildah >/dev/null || missing="$$missing buildah"; \
	  command -v debootstrap >/dev/null || missing="$$missing debootstrap"; }; \
	$(MAKE) installed missing="$$missing"

installed:
	@[ -n "$(strip $(missing))" ] || exit 0; \
	command -v apt-get >/dev/null || { echo "缺少$(missing),请用本机的包管理器安装。Please install:$(missing)"; exit 1; }; \
	[ "$(SUDO)" != no-sudo ] || { echo "缺少$(missing),请以 root 运行:apt-get install$(missing)"; exit 1; }; \
	echo "安装系统软件包:$(missing)"; \
	$(SUDO) apt-get update -q $(SILENT); \
	case "$(missing)" in *postgresql*) \
	  $(SUDO) mkdir -p $(dir $(QUIETLY)); \
	  echo "create_main_cluster = false" | $(SUDO) tee $(QUIETLY) >/dev/null;; esac; \
	failed=; $(SUDO) $(INSTALL) $(missing) >>$(LOG) 2>&1 || failed=yes; \
	$(SUDO) rm -f $(QUIETLY); \
	[ -z "$$failed" ] || { tail -n 20 $(LOG); exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "需要 Python 3.11 或更新的版本:请用 make PYTHON=python3.12 指明。Python 3.11 or newer is needed."; exit 1; }

# The `jingwei` command runs from this checkout: no build, so nothing that is not locked.
.venv/.ready: requirements.lock | system
	@echo "安装 Python 依赖(已锁定)"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock $(SILENT)
	@printf '#!%s\nimport sys\nsys.path.insert(0, "%s")\nfrom api.cli import main\nmain()\n' \
	  "$(CURDIR)/$(BIN)/python" "$(CURDIR)" >$(BIN)/jingwei; chmod +x $(BIN)/jingwei; touch $@

.venv/.ready-dev: requirements-dev.lock .venv/.ready
	@echo "安装测试依赖(已锁定)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock $(SILENT)
	@touch $@

# Ubuntu has Chromium as a snap only, which may not read the profile that a test makes for it.
.venv/.ready-browser: .venv/.ready-dev | system-test
	@$(BROWSER) || { echo "取来 Chromium"; \
	  $(BIN)/playwright install --with-deps --no-shell chromium $(SILENT); \
	  ln -sf "$$($(BIN)/python -c 'from playwright.sync_api import sync_playwright as driver; print(driver().start().chromium.executable_path)')" \
	    $(BIN)/chromium; }
	@touch $@

# What pages load comes from npm, pinned and checked by hash, and is served from here.
maps/assets/vendor/.ready: package-lock.json | system
	@echo "取来页面用的脚本(已锁定)"
	@npm ci --ignore-scripts --no-audit --no-fund $(SILENT)
	@mkdir -p $(@D)/leaflet $(@D)/htmx $(@D)/swagger
	@cp node_modules/leaflet/dist/leaflet.{js,css} node_modules/leaflet/LICENSE $(@D)/leaflet/
	@cp node_modules/htmx.org/dist/htmx.min.js node_modules/htmx.org/LICENSE $(@D)/htmx/
	@cp node_modules/swagger-ui-dist/swagger-ui{-bundle.js,.css} node_modules/swagger-ui-dist/LICENSE $(@D)/swagger/
	@touch $@
