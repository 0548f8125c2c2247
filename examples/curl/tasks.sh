#!/usr/bin/env bash
# Everyday tasks over REST:
#   tasks.sh sell SELLER BUYER IDENTIFIER...   transfers devices, if they still belong to the seller
#   tasks.sh return OWNER IDENTIFIER...        removes devices from a customer
#   tasks.sh sync FILE                         gives each device to the one customer that a CSV file names for it
# The first line of the file is customer_email,device_identifier; its fields have no quotes. Needs curl 7.82 and jq.
set -euo pipefail
server=${DEVICE_ASSIGNMENT_REST:-http://127.0.0.1:8080}
timeout=${DEVICE_ASSIGNMENT_TIMEOUT:-30} # seconds
key=${DEVICE_ASSIGNMENT_API_KEY:?}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Sends the request on stdin to a method. All calls are idempotent, so curl can repeat them.
call() {
    if curl --silent --show-error --fail-with-body --output "$answer" \
        --max-time "$timeout" --retry 4 --retry-max-time "$timeout" --retry-connrefused \
        --header @<(printf 'x-api-key: %s' "$key") --json @- \
        "$server/api/ext-v1/deviceAssignment/$1"; then
        jq --raw-output '.message, (select(.skipped != []) | "Skipped: \(.skipped | join(" "))")' "$answer"
    else
        jq --raw-output '"\(.code): \(.error)", (.fieldViolations[]? | "  \(.field): \(.description)")' "$answer" >&2
        return 1
    fi
}

task=${1:?sell, return or sync}
shift
case $task in
sell)
    jq --null-input '{expectedOwner: $ARGS.positional[0], customerEmail: $ARGS.positional[1],
        deviceIdentifiers: $ARGS.positional[2:]}' --args -- "$@" | call transferDevicesToOwner
    ;;
return)
    jq --null-input '{customerEmail: $ARGS.positional[0], deviceIdentifiers: $ARGS.positional[1:]}' --args -- "$@" |
        call unassignDevicesFromOwner
    ;;
sync)
    # A request for each customer and 1,000 devices, one a line. A customer whose devices are all unknown is an error, but no
    # reason to leave out the others.
    failed=0
    while read -r request; do
        call transferDevicesToOwner <<<"$request" || failed=1
    done < <(jq --raw-input --null-input --compact-output '
        [inputs | rtrimstr("\r") | select(. != "") | split(",")][1:] | group_by(.[0])[] |
        {customerEmail: .[0][0], deviceIdentifiers: (map(.[1]) | _nwise(1000))}' "${1:?a file}")
    exit "$failed"
    ;;
*)
    echo "unknown task: $task" >&2
    exit 2
    ;;
esac
