#!/usr/bin/env bash
# Kills a coordinator in mid-work again and again, 1,000 times unless told otherwise, and lets a client's own
# record judge. The last lines go to docs/evidence/kill-coordinator.txt with the date and the commit.
#
#   scripts/kill-coordinator.sh [KILLS] [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/evidence.sh
export GRIDCTL_KILLS="${1:-1000}" GRIDCTL_SEED="${2:-1}"
evidence kill-coordinator cargo test --release --locked --test kill_coordinator -- --nocapture nothing_acknowledged
