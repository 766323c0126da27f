#!/usr/bin/env bash
# Runs a million fresh schedules of the simulator, and keeps what came out with its date in docs/evidence:
#
#   scripts/simulate.sh [SCHEDULES]
#
# Seeds that fail are printed with the command that replays them; the script fails then.
set -euo pipefail
cd "$(dirname "$0")/.."
schedules=${1:-1000000}

out=docs/evidence/simulate-$(date -u +%Y-%m-%d).txt
mkdir -p docs/evidence
cargo build --release --locked -p gridctl-sim --features planted-bugs
{
    echo "date:      $(date -u '+%Y-%m-%d %H:%M') UTC"
    echo "commit:    $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ', with changes')"
    echo "machine:   $(nproc) cpus, $(uname -sr)"
    echo "schedules: $schedules"
    echo
} | tee "$out"
status=0
cargo run -q --release --locked -p gridctl-sim --features planted-bugs -- --fresh "$schedules" --coverage | tee -a "$out" || status=$?
echo "kept in $out"
exit "$status"
