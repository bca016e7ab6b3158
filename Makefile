# Everything a developer or a machine runs. Each target installs what it needs.
# Needs root for system packages, namespaces and the installation.

SHELL := /bin/bash
PYTHON := /usr/bin/python3
PREFIX := /opt/openvpn3
# Where shells and sudo find the programs of an installation.
LINKS := /usr/local/bin
PROGRAMS := openvpn2 openvpn3 openvpn3-admin openvpn3-as openvpn3-autoload openvpn3-systemd
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests ask more of the machine than a build: a server, foreign front-ends, tools to watch the network.
BUILD_PACKAGES := dbus gcc iproute2 libc6-dev libssl-dev passwd pkg-config python3 python3-dev python3-venv util-linux
# Where the distribution has it.
FASTER := libipsec-mb1
PACKAGES := $(BUILD_PACKAGES) diffutils ethtool iperf3 iputils-ping libglib2.0-bin openvpn procps python3-dbus python3-gi

FAST_SOURCES := setup.py $(wildcard ovpn3/_fast/*.pyx ovpn3/_fast/*.pxd)
FAST_MODULES := $(patsubst ovpn3/_fast/%.pyx,ovpn3._fast.%,$(wildcard ovpn3/_fast/*.pyx))

# Services can't write beside their code, so that figures of their start and memory need it compiled before: compileall.

# What is built to notice wrong use of memory, and how long hostile packets are thrown at it.
ASAN := build/asan
SECONDS ?= 60

# Tests at a time: most of them wait for servers and timers.
AT_ONCE ?= 3

.PHONY: help demo test test-all check docs fuzz fuzz-control bench bench-quick run install uninstall deb clean packages build-packages profile-named root

help:
	@echo "make demo               two machines, a real server, a user's session, data, figures"
	@echo "make test               checks and all tests (root)"
	@echo "make test-all           the same with the whole product of modes"
	@echo "make check              lint, types, import floors"
	@echo "make docs               docs/options.md and the references in docs/dbus.md and docs/api.md, from the code"
	@echo "make fuzz               hostile packets into the data path under AddressSanitizer, for SECONDS=$(SECONDS)"
	@echo "make fuzz-control       profiles and the control channel under coverage-guided fuzzing, for SECONDS each"
	@echo "make bench              figures of the data path, against the openvpn program (root); bench-quick: few rounds"
	@echo "make run PROFILE=FILE   one tunnel in the foreground, no installation (root)"
	@echo "make deb                build/ovpn3_*.deb, a package of the same for Debian or Ubuntu (root)"
	@echo "make install            into PREFIX=$(PREFIX), and the services into the system (root); uninstall undoes it"

demo: root $(VENV)/.built
	$(BIN)/python -m tests.demo

test: root check
	$(BIN)/python -m pytest -q -n $(AT_ONCE) --dist worksteal --durations=10

test-all: root check
	$(BIN)/python -m pytest -q -n $(AT_ONCE) --dist worksteal --durations=20 --full

check: $(VENV)/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint ovpn3/_fast
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests/support tests/bus tests/conformance tests/unit/client tests/conftest.py tests/demo.py bench/macro docs
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest --allowlist .ci/stubtest.allow --ignore-unused-allowlist $(FAST_MODULES)

docs: $(VENV)/.built
	$(BIN)/python -m docs.api
	$(BIN)/python -m docs.dbus
	$(BIN)/python -m docs.options

# Python's own allocator would hide small overruns. The package found first is the one beside the working directory.
fuzz: $(VENV)/.built
	CFLAGS="-g -fsanitize=address -fno-omit-frame-pointer" $(BIN)/python setup.py --quiet build_py --build-lib $(ASAN) \
	  build_ext --build-lib $(ASAN) --build-temp $(ASAN)/objects
	cd $(ASAN) && LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  PYTHONPATH=$(CURDIR) python -m tests.fuzz.data_path --seconds $(SECONDS)

fuzz-control: $(VENV)/.built
	$(BIN)/pip install --quiet atheris
	for target in profile push packets messages; do $(BIN)/python -m tests.fuzz.guided $$target --seconds $(SECONDS) || exit 1; done

bench: root $(VENV)/.built
	mkdir -p bench/out
	$(BIN)/python -m pytest bench/micro -q --benchmark-enable --benchmark-json=bench/out/micro.json
	$(BIN)/python -m compileall -q ovpn3 services
	$(BIN)/python -m bench.macro.scale
	$(BIN)/python -m bench.macro.dbus
	$(BIN)/python -m bench.macro.startup
	$(BIN)/python -m bench.macro.soak
	$(BIN)/python -m bench.macro.handshakes --count 200
	$(BIN)/python -m bench.macro.engine
	$(BIN)/python -m bench.macro.tunnel --json bench/out/tunnel.json
	$(BIN)/python -m bench.macro.tunnel --rounds 3 --loads up,down --no-offloads --json bench/out/no-offloads.json
	$(BIN)/python -m bench.macro.tunnel --rounds 3 --loads up,down --offloads tso,uso,gso,gro \
	  --server-offloads tso,uso,gso,gro --json bench/out/libcrypto.json

bench-quick: root $(VENV)/.built
	$(BIN)/python -m bench.macro.engine
	$(BIN)/python -m bench.macro.tunnel --rounds 2 --seconds 1

run: profile-named root $(VENV)/.built
	$(BIN)/openvpn3 run "$(PROFILE)"

profile-named:
	@test -n "$(PROFILE)" || { echo "which profile? make run PROFILE=client.ovpn" >&2; exit 2; }

install: root build-packages
	rm -rf build
	$(PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/pip install --quiet --upgrade pip
	$(PREFIX)/bin/pip install --quiet --upgrade .
	$(PREFIX)/bin/openvpn3-admin install
	@cd $(LINKS) && for p in $(PROGRAMS); do \
	  if [ -e $$p ] && [ ! -L $$p ]; then echo "$(LINKS)/$$p is not ours, and stays"; else ln -sf $(PREFIX)/bin/$$p; fi; done

uninstall: root
	$(PREFIX)/bin/openvpn3-admin uninstall
	@cd $(LINKS) && for p in $(PROGRAMS); do [ "$$(readlink $$p)" != $(PREFIX)/bin/$$p ] || rm $$p; done
	rm -r $(PREFIX)

deb: root build-packages
	unshare --mount debian/build

clean:
	rm -rf $(VENV) build dist bench/out *.egg-info ovpn3/_fast/*.c ovpn3/_fast/*.so

root:
	@test "$$(id -u)" = 0 || { echo "this needs root: it makes network namespaces and a system bus, or installs" >&2; exit 1; }

packages: WANTED := $(PACKAGES)
build-packages: WANTED := $(BUILD_PACKAGES)
packages build-packages:
	@missing=$$(for p in $(WANTED); do \
	  [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done); \
	[ -n "$$missing" ] || exit 0; \
	[ "$$(id -u)" = 0 ] || { echo "not installed, and only root can: " $$missing >&2; exit 1; }; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get install -y --no-install-recommends $$missing || \
	{ apt-get update && apt-get install -y --no-install-recommends $$missing; }
	@[ "$$(id -u)" != 0 ] || dpkg-query -W $(FASTER) >/dev/null 2>&1 || \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(FASTER) >/dev/null 2>&1 || \
	  echo "no $(FASTER) here: AES-GCM will be libcrypto's, which is slower"

$(VENV)/.installed: pyproject.toml | packages
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1" "setuptools>=77" "Cython>=3.1,<4"
	$(BIN)/pip install --quiet --no-build-isolation --editable . --group test --group check
	touch $@

$(VENV)/.built: $(VENV)/.installed $(FAST_SOURCES) | packages
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@
