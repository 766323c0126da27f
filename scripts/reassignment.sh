#!/usr/bin/env bash
# How soon the task of a worker runs again: after `kill -9` of the worker's process, and after its machine was
# cut off (here: everything of the worker stands still). Two workers, a lease of LEASE seconds; the worker that
# runs a task is struck, and the time until the task begins again, anywhere, is taken. The maximum counts.
#
#   scripts/reassignment.sh [-n TIMES] [-l LEASE_SECONDS] [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."

times=50
lease=2
while getopts n:l: option; do
    case $option in
    n) times=$OPTARG ;;
    l) lease=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
program=${1:-target/release/gridctl}
[ -x "$program" ] || { echo "$program is not there: cargo build --release" >&2; exit 7; }
program=$(realpath "$program")

home=$(mktemp -d)
started=()
# Only what was started here, by its process id.
cleanup() {
    for pid in "${started[@]}"; do
        tree "$pid" | xargs -r kill -CONT 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        tree "$pid" | xargs -r kill -KILL 2>/dev/null || true
    done
    rm -rf "$home"
}
trap cleanup EXIT

# A process and all below it.
tree() {
    echo "$1"
    local child
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}

# The process of a worker that runs tasks: the last of those that run the program.
at_work() {
    local pid found=
    for pid in $(tree "$1"); do
        [ "$(readlink "/proc/$pid/exe")" = "$(readlink "/proc/$1/exe")" ] && found=$pid
    done
    echo "$found"
}

grid() { env -i PATH="$PATH" HOME="$home" USER=tester "$program" "$@"; }
# In the background; its process id is in $! then.
start() { env -i PATH="$PATH" HOME="$home" USER=tester "$program" "$@" & }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# Waits for up to a minute.
until_true() {
    local end=$(($(milliseconds) + 60000))
    until "$@"; do
        [ "$(milliseconds)" -lt "$end" ] || { echo "not in time: $*" >&2; tail -n 20 "$home"/*.log >&2; exit 1; }
        sleep 0.005
    done
}
ready() { [ "$(grid workers --json | grep -o '"state":"ready"' | wc -l)" -ge "$1" ]; }
lines() { [ -e "$home/log" ] && [ "$(wc -l <"$home/log")" -ge "$1" ]; }

start coordinator --listen 127.0.0.1:0 --lease "${lease}s" >"$home/line" 2>"$home/coordinator.log"
started+=($!)
until_true test -s "$home/line"
token=$(awk '{ print $NF }' "$home/line")
for name in one two; do
    start worker --join "$token" --data-dir "$home/$name" --name "$name" --cpus 1 2>"$home/$name.log"
    started+=($!)
done
until_true ready 2

# The first run of the task notes who runs it and lasts; the second notes when it began, and is over.
task='echo "$(date +%s%N) $GRID_SCRATCH" >> "$1"; [ "$(wc -l < "$1")" -gt 1 ] || exec sleep 1000'

# Which of the two workers has this task: the one below which its process is.
runner() {
    local place
    for place in 1 2; do
        if tree "${started[$place]}" | xargs -I{} cat /proc/{}/cmdline 2>/dev/null | tr '\0' ' ' | grep -q 'sleep 1000'; then
            echo "${started[$place]}"
            return
        fi
    done
}
runs() { [ -n "$(runner)" ]; }

measure() { # what strikes, what mends
    local took=() round job struck begun
    for round in $(seq "$times"); do
        rm -f "$home/log"
        job=$(grid submit -- sh -c "$task" sh "$home/log")
        until_true lines 1
        until_true runs
        local worker
        worker=$(runner)
        struck=$(date +%s%N)
        "$1" "$worker"
        until_true lines 2
        begun=$(sed -n 2p "$home/log" | cut -d' ' -f1)
        took+=($(((begun - struck) / 1000000)))
        grid wait -q "$job" >/dev/null 2>&1
        "$2" "$worker"
        until_true ready 2
    done
    printf '%s\n' "${took[@]}" | sort -n | awk -v what="$3" '
        { all[NR] = $1 } END { printf "%-44s %3d times: median %5d ms, maximum %5d ms\n", what, NR, all[int((NR + 1) / 2)], all[NR] }'
}
kill_worker() { kill -KILL "$(at_work "$1")"; }
cut_off() { tree "$1" | xargs kill -STOP; }
come_back() { tree "$1" | xargs kill -CONT; }

echo "$(date -u +%Y-%m-%dT%H:%M:%SZ), lease ${lease} s, $("$program" --version), $(nproc) cpus, Linux $(uname -r)"
measure kill_worker true "kill -9 of the worker's process"
measure cut_off come_back "its machine is cut off (goal: lease + 2 s)"
