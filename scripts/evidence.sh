# Sourced by the scripts beside it: `evidence NAME COMMAND…` runs the command and keeps what it printed, with
# the date, the commit and the machine, in docs/evidence/NAME.txt, also where it failed.
evidence() {
    local name=$1 file began status=0
    shift
    file="docs/evidence/$name.txt"
    mkdir -p docs/evidence
    began=$(date +%s)
    {
        echo "date:    $(date -u +%Y-%m-%dT%H:%M:%SZ)"
        echo "commit:  $(git rev-parse HEAD)$(git diff --quiet HEAD -- . ':!docs/evidence' || echo ' and uncommitted changes')"
        echo "machine: $(nproc) cpus, Linux $(uname -r), $(rustc --version)"
        echo "command: $*"
        env | grep '^GRIDCTL_' | sort | sed 's/^/with:    /' || true
        echo
    } > "$file"
    "$@" 2>&1 | tee "$file.all" || status=$?
    tail -n 40 "$file.all" >> "$file"
    rm "$file.all"
    { echo; echo "exit code $status after $(($(date +%s) - began)) s"; } | tee -a "$file"
    return "$status"
}
