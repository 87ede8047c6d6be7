# Trunkline. `make help` lists the targets; each installs what it lacks (deploy/deps.sh).
#
#   SANITIZE=address,undefined   builds, and tests, under build/asan instead of build/release
#   V=1                          shows the commands
#
SANITIZE ?=
VARIANT  := $(if $(SANITIZE),asan,release)
B        := build/$(VARIANT)
PYTHON   := /usr/bin/python3
Q        := $(if $(V),,@)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
SHELL := /bin/bash

# ---- what is built from what -------------------------------------------------------------------
PROCESSES    := gateway router auth
COMMON_SRC   := $(wildcard common/*.c)
GATEWAY_SRC  := $(wildcard gateway/*.c gateway/*/*.c)
ROUTER_SRC   := $(wildcard router/*.c)
AUTH_SRC     := $(wildcard auth/*.c)
SOURCES      := $(COMMON_SRC) $(GATEWAY_SRC) $(ROUTER_SRC) $(AUTH_SRC)
TEST_SRC     := $(wildcard tests/unit/test_*.c)
SUPPORT_SRC  := $(filter-out $(TEST_SRC),$(wildcard tests/unit/*.c))
FORMATTED    := $(SOURCES) $(wildcard tests/*/*.c tests/*/*.h) $(foreach d,common gateway \
                gateway/* router auth,$(wildcard $(d)/*.h))
BINARIES     := $(PROCESSES:%=$(B)/%)
TESTS        := $(TEST_SRC:tests/unit/%.c=$(B)/tests/%)

objects       = $(patsubst %.c,$(B)/obj/%.o,$(1))
library_of    = $(call objects,$(filter-out %/main.c,$(1)))

# ---- flags: pkg-config is asked once, when the first file is compiled, so after deps ------------
PKG_CONFIG   := PKG_CONFIG_PATH=$(CURDIR)/build/deps/pkgconfig:$$PKG_CONFIG_PATH pkg-config
once          = $(eval $(1) := $(2))$($(1))
MSGPACK       = $(call once,MSGPACK,$(shell $(PKG_CONFIG) --exists msgpack-c && echo msgpack-c || echo msgpack))
PACKAGES      = libwebsockets libuv hiredis $(MSGPACK) libjwt libssl libcrypto libargon2 zlib yyjson
PKG_CFLAGS    = $(call once,PKG_CFLAGS,$(shell $(PKG_CONFIG) --cflags $(PACKAGES)))
PKG_LIBS      = $(call once,PKG_LIBS,$(shell $(PKG_CONFIG) --libs $(PACKAGES)))
CMOCKA_LIBS   = $(call once,CMOCKA_LIBS,$(shell $(PKG_CONFIG) --libs cmocka))

WARNINGS     := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
                -Wvla -Wwrite-strings -Wpointer-arith -Wundef -Wformat=2
LANGUAGE     := -std=gnu11 -D_GNU_SOURCE -I.
OPTIMISE     := $(if $(SANITIZE),-O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) \
                -fno-sanitize-recover=all,\
                -O2 -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
CFLAGS       ?= -g
LDFLAGS      += -Wl,--as-needed $(if $(SANITIZE),-fsanitize=$(SANITIZE))
COMPILE       = $(CC) $(LANGUAGE) $(OPTIMISE) $(CFLAGS) $(WARNINGS) $(PKG_CFLAGS)
LINK          = $(CC) $(OPTIMISE) $(CFLAGS) $(LDFLAGS)

# ---- people's targets --------------------------------------------------------------------------
DEPS := deps-build deps-run deps-test deps-check deps-browser
.PHONY: help build run test unit e2e browser faults check fmt fmt-check lint bench docker clean deps $(DEPS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

build: $(BINARIES) $(B)/trunkline-auth ## compile gateway, router and auth into build/release (the default)

run: build deps-run ## Redis, auth, a router and two gateways on this machine; Ctrl-C ends them
	@exec deploy/run.sh $(B)

test: build ## unit and end-to-end tests; SANITIZE=address,undefined for the checked build
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory e2e

unit: $(TESTS) ## the cmocka tests
	@failed=; for t in $(TESTS); do echo "== $$t"; $$t || failed="$$failed $$t"; done; \
	if [ -n "$$failed" ]; then echo "unit tests failed:$$failed" >&2; exit 1; fi

e2e: build $(B)/tests/telegram-gateway deps-test ## the end-to-end tests: real processes, a real Redis, real clients
	@echo "== tests/e2e and tests/faults on $(B)"
	@TRUNKLINE_BUILD=$(B) NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs $(PYTHON) -m pytest -q tests/e2e \
	    tests/faults

browser: build deps-test deps-browser ## the tests in a headless Chromium (100 MB); e2e has them, too, where there is one
	@TRUNKLINE_BUILD=$(B) NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs $(PYTHON) -m pytest -q \
	    tests/e2e/test_clients_from_elsewhere.py tests/e2e/test_the_console_is_self_contained.py

faults: build deps-test ## 1,000 seeded faults under traffic, nothing may be lost (SEED=1 FAULTS=1000)
	@TRUNKLINE_BUILD=$(B) $(PYTHON) tests/faults/drill.py --seed $(or $(SEED),1) \
	    --faults $(or $(FAULTS),1000) --long-stops 4

check: fmt-check lint build ## formatting, static analysis, warnings as errors

fmt: deps-check ## format the C sources
	$(Q)clang-format -i $(FORMATTED)

fmt-check: deps-check
	@echo "== clang-format"
	@clang-format --dry-run -Werror $(FORMATTED)

# Path analysis (clang-analyzer) reports every uthash deletion as a use after free, and parentheses
# are asked for in the rows of X-macro tables: not used here. Nor is what came after Debian 12's
# clang-tidy and dislikes plain C: qsort and free of pointers, a table's bytes read as its rows, "if
# ((status = ...) < 0)", a switch whose rest is nothing.
TIDY_CHECKS := -*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,$\
               -bugprone-implicit-widening*,-bugprone-narrowing-conversions,-bugprone-sizeof-expression,$\
               -bugprone-macro-parentheses,-bugprone-multi-level-implicit-pointer-conversion,$\
               -bugprone-casting-through-void,-bugprone-assignment-in-if-condition,$\
               -bugprone-inc-dec-in-conditions,-bugprone-switch-missing-default-case

lint: deps-check deps-build
	@echo "== cppcheck"
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppress=varFuncNullUB --suppress=funcArgOrderDifferent \
	    --suppress=normalCheckLevelMaxBranches --library=deploy/cppcheck.cfg \
	    --error-exitcode=1 -I. -j "$$(nproc)" $(SOURCES)
	@echo "== clang-tidy"
	@printf '%s\n' $(SOURCES) | xargs -P "$$(nproc)" -n 8 sh -c '! clang-tidy --quiet \
	    --checks="$(TIDY_CHECKS)" --warnings-as-errors="*" "$$@" -- $(LANGUAGE) $(PKG_CFLAGS) 2>&1 | \
	    grep -vE " warnings? generated|^\[[0-9/]+\] Processing file "' tidy

bench: build $(B)/bench/load deps-run ## fan-out, pairs, idle memory, connect storm (tests/bench/run.sh)
	@TRUNKLINE_BUILD=$(B) tests/bench/run.sh

docker: ## build the images of docker-compose.yml
	docker-compose build

clean: ## remove what was built (build/deps and var/ stay)
	rm -rf build/release build/asan

deps: ## install every package that any target needs; nothing to do when all are there
	@deploy/deps.sh

$(DEPS): deps-%:
	@deploy/deps.sh $*

# ---- files -------------------------------------------------------------------------------------
$(B)/obj/%.o: %.c Makefile | deps-build
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(COMPILE) -MMD -MP -c $< -o $@

$(call objects,$(TEST_SRC) $(SUPPORT_SRC)): | deps-test

# .incbin is invisible to -MMD: an object is as old as the scripts it may carry.
$(call objects,$(COMMON_SRC)): $(wildcard common/*.lua)
$(call objects,$(GATEWAY_SRC)): $(wildcard gateway/*/*.lua gateway/api/console/* common/*.lua)
$(call objects,$(ROUTER_SRC)): $(wildcard router/*.lua common/*.lua)
$(call objects,$(AUTH_SRC)): $(wildcard auth/*.lua common/*.lua)

$(B)/libcommon.a: $(call library_of,$(COMMON_SRC))
$(B)/libgateway.a: $(call library_of,$(GATEWAY_SRC))
$(B)/librouter.a: $(call library_of,$(ROUTER_SRC))
$(B)/libauth.a: $(call library_of,$(AUTH_SRC))
$(B)/libsupport.a: $(call library_of,$(SUPPORT_SRC))
$(B)/lib%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The linker takes from the archives what main needs, and of the libraries what that needs.
$(BINARIES): $(B)/%: $(B)/obj/%/main.o $(B)/lib%.a $(B)/libcommon.a
	@echo "  LINK  $@"
	$(Q)$(LINK) $^ $(PKG_LIBS) -lm -o $@

$(B)/trunkline-auth: | $(B)/auth # called so, it is the command line of auth
	$(Q)ln -sf auth $@

$(TESTS): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/libsupport.a $(PROCESSES:%=$(B)/lib%.a) \
                        $(B)/libcommon.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(LINK) $^ $(PKG_LIBS) $(CMOCKA_LIBS) -lm -o $@

# The gateway with a sixth protocol, a file of the tests (tests/sixth): its table of protocols comes before the library's.
$(B)/obj/tests/sixth/protocol.o: gateway/protocol.c Makefile | deps-build
	@mkdir -p $(@D)
	@echo "  CC    $< (with a sixth protocol)"
	$(Q)$(COMPILE) -DPROTOCOL_MORE=protocol_telegram -MMD -MP -c $< -o $@

$(B)/tests/telegram-gateway: $(B)/obj/gateway/main.o $(B)/obj/tests/sixth/protocol.o \
                             $(B)/obj/tests/sixth/telegram.o $(B)/libgateway.a $(B)/libcommon.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(LINK) $^ $(PKG_LIBS) -lm -o $@

$(B)/bench/load: $(call objects,$(wildcard tests/bench/*.c))
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(LINK) $^ -lm -o $@

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d)
