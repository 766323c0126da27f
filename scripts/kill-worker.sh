#!/usr/bin/env bash
# Kills worker and parent processes with `kill -9` at random moments of one job, over and over, and then holds
# that every task is done with its own result, and that nothing is left: no process, no scratch directory.
#
#   scripts/kill-worker.sh [-n TIMES] [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."

times=50
while getopts n: option; do
    case $option in
    n) times=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
program=${1:-target/release/gridctl}
[ -x "$program" ] || { echo "$program is not there: cargo build --release" >&2; exit 7; }
program=$(realpath "$program")
tasks=$((times * 20))

home=$(mktemp -d)
coordinator= worker=
# A process and all below it.
tree() {
    echo "$1"
    local child
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
cleanup() {
    local pid
    for pid in $worker $coordinator; do
        tree "$pid" | xargs -r kill -KILL 2>/dev/null || true
    done
    rm -rf "$home"
}
trap cleanup EXIT

grid() { env -i PATH="$PATH" HOME="$home" USER=tester "$program" "$@"; }
# In the background; its process id is in $! then.
start() { env -i PATH="$PATH" HOME="$home" USER=tester "$program" "$@" & }
start_worker() {
    start worker --join "$token" --data-dir "$home/worker" --name one --cpus 4 2>>"$home/worker.log"
    worker=$!
}

start coordinator --listen 127.0.0.1:0 --lease 10s >"$home/line" 2>"$home/coordinator.log"
coordinator=$!
for _ in $(seq 600); do [ -s "$home/line" ] && break; sleep 0.1; done
token=$(awk '{ print $NF }' "$home/line")
start_worker

# Each task leaves a child in a session of its own behind.
job=$(grid submit --range "0..$tasks" -- sh -c 'setsid sleep 1000 & echo "$GRID_SCRATCH" > "$1"; sleep 0.1; echo "task $2"' sh "$home/scratch" '{item}')
declare -A struck=([worker]=0 [parent]=0 [both]=0)
for round in $(seq "$times"); do
    sleep "0.$(printf %03d $((RANDOM % 1000)))"
    mapfile -t below < <(for pid in $(tree "$worker"); do
        [ "$(readlink "/proc/$pid/exe")" = "$(readlink "/proc/$worker/exe")" ] && echo "$pid"
    done)
    case $((round % 3)) in
    0) who=worker victims=("${below[-1]}") ;;
    1) who=parent victims=("$worker") ;;
    *) who=both victims=("$worker" "${below[-1]}") ;;
    esac
    kill -KILL "${victims[@]}" 2>/dev/null || true
    struck[$who]=$((struck[$who] + 1))
    if [ "$who" != worker ]; then
        wait "$worker" 2>/dev/null || true
        start_worker
    fi
done
timeout 600 env -i PATH="$PATH" HOME="$home" USER=tester "$program" wait -q "$job" || {
    echo "the job did not succeed:" >&2
    grid status "$job" >&2
    exit 1
}
grid output "$job" | cmp - <(seq -f 'task %g' 0 $((tasks - 1))) || { echo "the output is not that of its tasks" >&2; exit 1; }
kill -TERM "$worker"
wait "$worker" || { echo "the worker did not drain" >&2; exit 1; }
scratch=$(dirname "$(dirname "$(cat "$home/scratch")")")
left=$(grep -lsa "GRID_SCRATCH=$scratch/" /proc/[0-9]*/environ 2>/dev/null || true)
[ -z "$left" ] || { echo "processes are left: $left" >&2; exit 1; }
[ ! -e "$scratch" ] || { echo "$scratch is left" >&2; exit 1; }
echo "$(date -u +%Y-%m-%dT%H:%M:%SZ), $("$program" --version): kill -9 of the worker ${struck[worker]} times, of its parent ${struck[parent]} times, of both ${struck[both]} times, over $tasks tasks: each done with its own output, no process and no scratch directory left"
