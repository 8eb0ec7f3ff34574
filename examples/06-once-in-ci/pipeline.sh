#!/bin/sh
# The steps of a pipeline that changes HAProxy's templates: sh pipeline.sh check|plan|apply
# Exit codes are confsync's own, but that a plan with changes is a success.
set -eu
cd "$(dirname "$0")"

case ${1:-} in
check)
    # For every proposal, on any machine with confsync and HAProxy: no network, no rights. Once with services of all
    # kinds, once with none at all.
    confsync check --services services.json
    exec confsync check
    ;;
plan)
    # Before a merge, where Consul and HAProxy can be reached: reasons and diff for the one who approves.
    code=0
    confsync once || code=$?
    case $code in
    0) echo "plan: nothing to do" ;;
    3) echo "plan: the changes above" ;;
    4) echo "plan: services are held, \`confsync once --release NAME\` shows them let go" >&2; exit 4 ;;
    *) exit "$code" ;;
    esac
    ;;
apply)
    # After it. All or nothing: what HAProxy refuses or does not confirm leaves the old files in place.
    exec confsync once --apply
    ;;
*)
    echo "usage: pipeline.sh check|plan|apply" >&2
    exit 2
    ;;
esac
