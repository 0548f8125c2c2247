#!/usr/bin/env bash
# Assigns devices to a customer with buf curl: assign.sh EMAIL IDENTIFIER...
# Needs buf 1.75 and jq.
set -euo pipefail
server=${DEVICE_ASSIGNMENT_SERVER:-http://127.0.0.1:50051}
deadline=$((SECONDS + ${DEVICE_ASSIGNMENT_TIMEOUT:-30}))
key=${DEVICE_ASSIGNMENT_API_KEY:?}
request=$(jq --null-input '{customer_email: $ARGS.positional[0], device_identifiers: $ARGS.positional[1:]}' --args -- "$@")
types=$(dirname "$0")/../google_rpc.proto

# What the answer says in a detail of this type, as JSON: buf shows it in base64, without the padding.
detail() {
    local value
    value=$(jq --raw-output --arg type "$1" '.details[]? | select(.type == $type).value' <<<"$answer" 2>/dev/null) || return 0
    while ((${#value} % 4)); do value+='='; done
    base64 --decode <<<"$value" | buf convert "$types" --type "$1" --from -#format=binpb
}

for attempt in {1..5}; do
    # The key comes through a pipe, because everybody on the machine can read the arguments of a program.
    answer=$(buf curl --protocol grpc --timeout $((deadline - SECONDS))s \
        --header @<(printf 'x-api-key: %s' "$key") --data @- \
        "$server/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner" <<<"$request" 2>&1) && break
    # Without details it comes from buf itself: the answer has more than the 4 MiB that it takes, and always will.
    code=$(jq --raw-output 'if .code == "resource_exhausted" and .details == null then "too_large" else .code end' \
        <<<"$answer" 2>/dev/null) || code=unknown
    # These two go away; RetryInfo says when.
    pause=$(detail google.rpc.RetryInfo | jq '.retryDelay // "1s" | rtrimstr("s") | tonumber | ceil')
    if [[ $code != resource_exhausted && $code != unavailable ]] || ((attempt == 5 || SECONDS + pause >= deadline)); then
        jq --raw-output '"\(.code): \(.message)"' <<<"$answer" >&2 2>/dev/null || echo "$answer" >&2
        detail google.rpc.BadRequest | jq --raw-output '.fieldViolations[]? | "  \(.field): \(.description)"' >&2
        exit 1
    fi
    sleep "$pause.$((RANDOM % 10))" # and a little longer, so that not all who wait come back at once
done
echo "$answer"
