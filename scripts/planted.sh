#!/usr/bin/env bash
# Plants every bug of jobs/src/planted.rs in turn, and looks for the first schedule that shows it; keeps what came
# out with its date in docs/evidence:
#
#   scripts/planted.sh
#
# It fails where a bug is not found within 100,000 schedules.
set -euo pipefail
cd "$(dirname "$0")/.."

out=docs/evidence/planted-$(date -u +%Y-%m-%d).txt
mkdir -p docs/evidence
cargo build --release --locked -p gridctl-sim --features planted-bugs
{
    echo "date:    $(date -u '+%Y-%m-%d %H:%M') UTC"
    echo "commit:  $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ', with changes')"
    echo "machine: $(nproc) cpus, $(uname -sr)"
    echo
} | tee "$out"
status=0
cargo run -q --release --locked -p gridctl-sim --features planted-bugs -- --planted all | tee -a "$out" || status=$?
echo "kept in $out"
exit "$status"
