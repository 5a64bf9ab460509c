# kolam: build, run and measure. `make help` lists everything.
#
# Each variable can be set on the command line: make server MODE=process W=5

CARGO ?= cargo
KOLAM = target/release/kolam

# make server; what is empty is not passed on, so the program decides, by the protocol
PROTOCOL ?= file
# Where a message ends; for the file protocol only.
DIALECT ?=
MODE ?=
W ?=
HOST ?=
PORT ?=
USUAL_PORT = $(if $(filter http,$(PROTOCOL)),8080,6666)
ROOT ?= files

# make stress, make stress-quick
MODES ?= thread,process
# A server that runs already, host:port: make stress TARGET=…, make check-server TARGET=…
TARGET ?=
# Its process, if it runs on this machine: its memory and processor time are measured, too.
PID ?=
# What the clients are, one after another: CLIENT_MODE=same,thread,process makes all four pairings
CLIENT_MODE ?=
STRESS_OPTIONS = $(STRESS_MODES) $(if $(CLIENT_MODE),--client-mode $(CLIENT_MODE)) $(if $(PID),--pid $(PID)) $(STRESS_OUT) \
	$(if $(STRESS_ROOT),--root '$(STRESS_ROOT)') $(ARGS)
# One server has one mode, and is asked for it.
STRESS_MODES = $(if $(TARGET),--target $(TARGET) $(if $(filter file,$(origin MODES)),,--modes $(MODES)),--modes $(MODES))
OUT ?= results
# A run makes a folder of its own in results; an OUT that was given is the folder itself.
EXACT_OUT = $(if $(filter file,$(origin OUT)),,$(OUT))
STRESS_OUT = $(if $(EXACT_OUT),--out '$(OUT)') $(if $(FORCE),--force)
# FORCE=yes replaces the results in OUT: make stress, make ab, make bench, make modes, make examples
FORCE ?=

# make bench: install the peers first, run the whole matrix too
PEERS ?=
MATRIX ?=
# make modes: one column of the table, not all
COLUMN ?=
# make bench, make ab: rounds of which the one in the middle counts (5)
ROUNDS ?=

# make torture: some promises, a part of the counts, the document in which a full run replaces the table
ONLY ?=
SCALE ?=
DOC ?=

# make ab, make balancer
N ?= 1000
BACKENDS ?= 3

# make experiments: one room, not all; make volumes: one volume
NAME ?=
# make fuzz: for how long, or how many inputs of each parser; the seed that it printed; one parser, not all
SECONDS ?= 60
INPUTS ?=
SEED ?=

# make install, make uninstall: below which folder, and what a packager puts before it
PREFIX ?= /usr/local
DESTDIR ?=

# More options for the program, passed on as they are: ARGS='--sync --max-upload 10M'
ARGS ?=

# ---- what the command line may say ----

# The variables that each target uses; the others use none.
TAKES_server = PROTOCOL DIALECT MODE W HOST PORT ROOT ARGS
TAKES_stress = MODES CLIENT_MODE TARGET PID OUT FORCE STRESS_ROOT ARGS
TAKES_stress-quick = $(TAKES_stress)
TAKES_timeline = OUT FORCE STRESS_ROOT ARGS
TAKES_bench = PEERS MATRIX ROUNDS OUT FORCE KOLAM SHM
TAKES_modes = COLUMN OUT FORCE KOLAM SHM
TAKES_examples = OUT FORCE KOLAM SHM
TAKES_ab = N BACKENDS W ROUNDS OUT FORCE KOLAM SERVING_KOLAM SHM
TAKES_torture = ONLY SCALE OUT FORCE DOC SHM
TAKES_balancer = PROTOCOL MODE W HOST PORT ROOT BACKENDS ARGS
TAKES_report = OUT ARGS
TAKES_check-server = TARGET PID ARGS
TAKES_experiments = NAME
TAKES_volumes = NAME
TAKES_fuzz = SECONDS INPUTS SEED ONLY
TAKES_install = PREFIX DESTDIR KOLAM
TAKES_uninstall = PREFIX DESTDIR
TAKES_help = $(sort $(foreach target,server stress bench modes ab examples torture balancer report check-server experiments fuzz install,$(TAKES_$(target))))

# Names that are guessed, and the variables that they can mean
MEANS_WORKERS = W
MEANS_THREADS = W
MEANS_PROCESSES = W
MEANS_MODES = MODE
MEANS_MODE = MODES
MEANS_CLIENTS = CLIENT_MODE
MEANS_LISTEN = HOST PORT
MEANS_DIR = ROOT OUT
MEANS_FOLDER = ROOT OUT
MEANS_ROOT = STRESS_ROOT
MEANS_SERVERS = BACKENDS
MEANS_REQUESTS = N

# Make ignores a variable that nothing uses: `make server WORKERS=3` would start four workers without a word.
# So each variable of the command line is compared with those that the targets at hand take. Those of cargo
# and rustc go to them through the environment.
GOALS = $(or $(MAKECMDGOALS),help)
TAKEN = CARGO% RUST% $(foreach goal,$(GOALS),$(TAKES_$(goal)))
GIVEN = $(foreach each,$(.VARIABLES),$(if $(findstring command line,$(origin $(each))),$(each)))
CAPITALS = $(shell echo '$(1)' | tr a-z A-Z)
# Why the variable $(1) is refused: its case, another name for it, or the target.
IN_CAPITALS = $(filter-out $(1),$(filter $(TAKES_help),$(call CAPITALS,$(1))))
MEANT = $(filter $(TAKEN),$(MEANS_$(call CAPITALS,$(1))))
WRONG_CASE = variables are in capitals here: $(IN_CAPITALS)=$(value $(1))
USED = $(or $(filter-out CARGO% RUST%,$(TAKEN)),no variable)
UNUSED = make $(GOALS) does not use it; $(if $(MEANT),did you mean $(MEANT)?,it uses $(USED))
REFUSE = $(error $(1)=$(value $(1)): $(if $(IN_CAPITALS),$(WRONG_CASE),$(UNUSED)))
# A make below this one has been given what was meant for this one, where it was compared already.
ifeq ($(MAKELEVEL),0)
$(foreach each,$(filter-out $(TAKEN),$(GIVEN)),$(call REFUSE,$(each)))
$(if $(filter-out yes,$(FORCE)),$(error FORCE=$(FORCE): expected yes))
endif

.PHONY: help build server stress stress-quick timeline bench modes ab examples torture balancer test test-release report check-server experiments volumes fuzz check format clean install uninstall

help:
	@echo 'make build                 build $(KOLAM)'
	@echo 'make server                serve a folder     PROTOCOL=$(PROTOCOL) DIALECT= MODE= W= HOST= PORT= ROOT=$(ROOT)'
	@echo 'make stress                all combinations   MODES=$(MODES) CLIENT_MODE= OUT= STRESS_ROOT= TARGET= PID='
	@echo 'make stress-quick          the same, small: seconds'
	@echo 'make timeline              a page of four pictures: who was served when, in each mode   OUT='
	@echo 'make report                a page with pictures of the newest run, or of OUT=   OUT='
	@echo 'make check-server          grade a server that runs, with the causes   TARGET=host:port PID='
	@echo 'make bench                 every goal, beside iperf3, nginx, HAProxy where they are   PEERS=install MATRIX=yes OUT='
	@echo 'make modes                 what the modes differ in, measured   COLUMN= OUT='
	@echo 'make examples              what becomes of four simple servers, 50 clients at once   OUT='
	@echo 'make ab                    the HTTP tables, 1 to 100 connections   N=$(N) BACKENDS=$(BACKENDS) W= OUT='
	@echo 'make balancer              HTTP servers and the balancer in front   BACKENDS=$(BACKENDS) MODE=event W= PORT=7000'
	@echo 'make torture               every promise, tried until it breaks; needs root for some   ONLY=5,12 OUT= DOC='
	@echo 'make install               program, man page and completions   PREFIX=$(PREFIX) DESTDIR='
	@echo 'make uninstall             remove what install has put there   PREFIX=$(PREFIX) DESTDIR='
	@echo 'make test                  all tests'
	@echo 'make test-release          ten million random cases of base64, optimised'
	@echo 'make experiments           apply each experiment to a copy, and see what it shows   NAME='
	@echo 'make volumes               delete each volume from a copy, and test the rest   NAME='
	@echo 'make fuzz                  random input for each parser   SECONDS=$(SECONDS) INPUTS= SEED= ONLY='
	@echo 'make check                 format, clippy with warnings as errors, tests'
	@echo 'make format                format the sources'
	@echo 'make clean                 remove what was built (target), nothing else'
	@echo
	@echo 'PROTOCOL   file or http                   MODE   single, thread, process or event'
	@echo '           file: thread mode on port 6666; http: event mode on port 8080'
	@echo 'DIALECT   delimiter, line, sized or pause: where a message of the file protocol ends (docs/framing.md)'
	@echo 'W   workers (one a core; thread and process: at least 4)'
	@echo 'CLIENT_MODE   same (as the server), thread, process, or several: same,thread,process has all four pairings'
	@echo 'TARGET   a server that runs already, to be tested: host:port'
	@echo 'PID   its process on this machine, whose memory and processor time are measured'
	@echo 'STRESS_ROOT   where the files of the stress test live: /dev/shm keeps them in memory'
	@echo 'OUT   the folder of the results (stress, timeline, bench, modes, ab, examples); FORCE=yes replaces those that are in it'
	@echo 'ROUNDS   how often bench and ab measure; the figure in the middle counts (5)'
	@echo "ARGS   more options for the program: make server ARGS='--sync --read-only'"

build:
	@[ -e target/release/kolam ] || echo 'building target/release/kolam: this takes half a minute' >&2
	@$(CARGO) build --release --locked --quiet

# Only what is older than its sources is built: where `make build` was run before, install needs no compiler.
target/release/kolam: Cargo.toml Cargo.lock $(shell find src -type f)
	@$(CARGO) build --release --locked --quiet
	@touch $@

# The places of the Filesystem Hierarchy Standard (3.0, sections 4.4 to 4.11), and those where each shell looks.
TO = $(DESTDIR)$(PREFIX)
PAGE = $(TO)/share/man/man1/kolam.1
FOR_BASH = $(TO)/share/bash-completion/completions/kolam
FOR_ZSH = $(TO)/share/zsh/site-functions/_kolam
FOR_FISH = $(TO)/share/fish/vendor_completions.d/kolam.fish
TILDE = PREFIX=$(PREFIX): the shell has not expanded the ~; write PREFIX=$$HOME/...

install: $(KOLAM)
	$(if $(filter ~%,$(DESTDIR)$(PREFIX)),$(error $(TILDE)))
	@for page in '$(PAGE)' '$(FOR_BASH)' '$(FOR_ZSH)' '$(FOR_FISH)'; do install -D -m 644 /dev/null "$$page" || exit 1; done
	@install -D -m 755 '$(KOLAM)' '$(TO)/bin/kolam'
	@'$(KOLAM)' man >'$(PAGE)'
	@'$(KOLAM)' completions bash >'$(FOR_BASH)'
	@'$(KOLAM)' completions zsh >'$(FOR_ZSH)'
	@'$(KOLAM)' completions fish >'$(FOR_FISH)'
	@echo 'installed: $(TO)/bin/kolam, its man page, and completions for bash, zsh and fish'

uninstall:
	@rm -f '$(TO)/bin/kolam' '$(PAGE)' '$(FOR_BASH)' '$(FOR_ZSH)' '$(FOR_FISH)'

server: build
	@exec $(KOLAM) serve --protocol $(PROTOCOL) $(if $(DIALECT),--dialect $(DIALECT)) $(if $(MODE),--mode $(MODE)) $(if $(W),--workers $(W)) \
		$(if $(HOST)$(PORT),--listen $(or $(HOST),127.0.0.1):$(or $(PORT),$(USUAL_PORT))) --root '$(ROOT)' $(ARGS)

stress: build
	@exec $(KOLAM) stress --report $(STRESS_OPTIONS)

stress-quick: build
	@exec $(KOLAM) stress --quick $(STRESS_OPTIONS)

timeline: build
	@exec $(KOLAM) stress --timeline $(STRESS_OUT) $(if $(STRESS_ROOT),--root '$(STRESS_ROOT)') $(ARGS)

# A program of benches: it is built, and then takes the place of the shell, so that a signal reaches it.
PATH_OF = --message-format=json | sed -n 's/.*"name":"$(1)".*"executable":"\([^"]*\)".*/\1/p'
RUN = program=$$($(CARGO) bench --no-run --locked --quiet --bench $(1) $(PATH_OF)) && [ -n "$$program" ] && \
	OUT='$(EXACT_OUT)' FORCE=$(FORCE) exec "$$program"
MEASURE = $(call RUN,measure)

bench:
	@export PEERS=$(PEERS) MATRIX=$(MATRIX) ROUNDS=$(ROUNDS); $(MEASURE) bench

modes:
	@$(MEASURE) modes $(COLUMN)

examples:
	@$(CARGO) build --release --locked --quiet --examples
	@$(MEASURE) examples

# Its own defaults, unless PROTOCOL, MODE or PORT is given: HTTP, event mode, port 7000. Servers on loopback do not
# answer for names that are not theirs, unless the balancer is there for others.
BEHIND = $(or $(if $(filter file,$(origin PROTOCOL)),,$(PROTOCOL)),http)
OTHERS = $(if $(HOST),$(filter-out 127.% localhost ::1,$(HOST)))
balancer: build
	@exec $(KOLAM) balance --spawn $(BACKENDS) --listen $(or $(HOST),127.0.0.1):$(or $(PORT),7000) $(ARGS) -- \
		--protocol $(BEHIND) --mode $(or $(MODE),event) $(if $(W),--workers $(W)) --root '$(ROOT)' \
		$(if $(OTHERS),$(if $(filter http,$(BEHIND)),--any-host))

# Some promises are shown by the tests.
torture:
	@TESTS=$$($(CARGO) test --no-run --locked --quiet --test it $(call PATH_OF,it)); \
	UNITS=$$($(CARGO) test --no-run --locked --quiet --bin kolam $(call PATH_OF,kolam)); \
	export TESTS UNITS ONLY='$(ONLY)' SCALE='$(SCALE)' DOC='$(DOC)'; $(call RUN,torture)

ab:
	@export N=$(N) BACKENDS=$(BACKENDS) W=$(W) ROUNDS=$(ROUNDS); $(MEASURE) ab

test:
	@$(CARGO) test --locked

# Without link-time optimisation, which the loops of one file do not need and all others wait for.
test-release:
	@CARGO_PROFILE_RELEASE_LTO=off $(CARGO) test --locked --release --bin kolam b64

report: build
	@exec $(KOLAM) report $(if $(EXACT_OUT),'$(OUT)') $(ARGS)

check-server: build
	@exec $(KOLAM) check $(or $(TARGET),$(error make check-server: TARGET is missing: TARGET=host:port)) \
		$(if $(PID),--pid $(PID)) $(ARGS)

experiments:
	@experiments/run $(NAME)

volumes:
	@tests/volumes $(NAME)

# A row for each parser. What fails is kept in tests/found, and tried again by each run of the tests.
fuzz:
	@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT && export FUZZ_SECONDS=$(SECONDS) FUZZ_SEED=$(or $(SEED),$$(date +%s)) && \
	$(if $(INPUTS),FUZZ_INPUTS=$(INPUTS)) FUZZ_ONLY=$(ONLY) TMPDIR=$${TMPDIR:-/dev/shm} CARGO_PROFILE_RELEASE_LTO=off \
		$(CARGO) test --release --locked --quiet --bin kolam fuzz_$(ONLY) -- --test-threads=1 >"$$log" || \
	{ cat "$$log"; exit 1; } && \
	if grep -q '^running 0 tests' "$$log"; then echo 'ONLY=$(ONLY): no such parser; make fuzz names all'; exit 1; fi

check:
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@$(CARGO) test --locked

format:
	@$(CARGO) fmt

clean:
	@$(CARGO) clean
