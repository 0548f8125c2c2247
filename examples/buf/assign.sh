#!/usr/bin/env bash
# Assigns devices to a customer with buf curl: assign.sh EMAIL IDENTIFIER...
# Needs buf 1.75 and jq.
set -euo pipefail
server=${DEVICE_ASSIGNMENT_SERVER:-http://127.0.0.1:50051}
deadline=$((SECONDS + ${DEVICE_ASSIGNMENT_TIMEOUT:-30}))
key=${DEVICE_ASSIGNMENT_API_KEY:?}
request=$(jq --null-input '{customer_email: $ARGS.positional[0], device_identifiers: $ARGS.positional[1:]}' --args -- "$@")
types=$(dirname "$0")/../google_rpc.proto

# Prints the error detail of this type as JSON. buf shows details in base64 without padding.
detail() {
    local value
    value=$(jq --raw-output --arg type "$1" '.details[]? | select(.type == $type).value' <<<"$answer" 2>/dev/null) || return 0
    while ((${#value} % 4)); do value+='='; done
    base64 --decode <<<"$value" | buf convert "$types" --type "$1" --from -#format=binpb
}

for attempt in {1..5}; do
    # Pass the key through a pipe: everybody on the machine can read the arguments of a program.
    answer=$(buf curl --protocol grpc --timeout $((deadline - SECONDS))s \
        --header @<(printf 'x-api-key: %s' "$key") --data @- \
        "$server/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner" <<<"$request" 2>&1) && break
    # Without details the error is from buf itself: the response exceeds its limit of 4 MiB. A retry does not help.
    code=$(jq --raw-output 'if .code == "resource_exhausted" and .details == null then "too_large" else .code end' \
        <<<"$answer" 2>/dev/null) || code=unknown
    # These two errors are temporary. RetryInfo says how long to wait.
    pause=$(detail google.rpc.RetryInfo | jq '.retryDelay // "1s" | rtrimstr("s") | tonumber | ceil')
    if [[ $code != resource_exhausted && $code != unavailable ]] || ((attempt == 5 || SECONDS + pause >= deadline)); then
        jq --raw-output '"\(.code): \(.message)"' <<<"$answer" >&2 2>/dev/null || echo "$answer" >&2
        detail google.rpc.BadRequest | jq --raw-output '.fieldViolations[]? | "  \(.field): \(.description)"' >&2
        exit 1
    fi
    sleep "$pause.$((RANDOM % 10))" # a random part, so that clients do not retry at the same time
done
echo "$answer"
