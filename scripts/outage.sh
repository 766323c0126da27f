#!/usr/bin/env bash
# Takes the coordinator away from four busy workers for a minute, unless told otherwise, with a lease of two
# seconds, and counts what was run again. The result goes to docs/evidence/outage.txt.
#
#   scripts/outage.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/evidence.sh
export GRIDCTL_OUTAGE_S="${1:-60}" GRIDCTL_LEASE=2s
evidence outage cargo test --release --locked --test kill_coordinator -- --nocapture an_outage
