#!/usr/bin/env bash
# Assigns devices to a customer with grpcurl: assign.sh EMAIL IDENTIFIER...
# Needs grpcurl 1.8.6 and jq.
set -euo pipefail
server=${DEVICE_ASSIGNMENT_SERVER:-http://127.0.0.1:50051}
deadline=$((SECONDS + ${DEVICE_ASSIGNMENT_TIMEOUT:-30}))
: "${DEVICE_ASSIGNMENT_API_KEY:?}"
request=$(jq --null-input '{customer_email: $ARGS.positional[0], device_identifiers: $ARGS.positional[1:]}' --args -- "$@")
# A response can exceed the default limit of 4 MiB.
options=(-format-error -expand-headers -max-msg-sz $((64 * 1024 * 1024)))
[[ $server == https://* ]] || options+=(-plaintext)

for attempt in {1..5}; do
    # grpcurl inserts the key: everybody on the machine can read the arguments of a program.
    # shellcheck disable=SC2016
    answer=$(grpcurl "${options[@]}" -max-time $((deadline - SECONDS)) \
        -H 'x-api-key: ${DEVICE_ASSIGNMENT_API_KEY}' -d @ "${server#*://}" \
        telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner <<<"$request" 2>&1) && break
    code=$(jq .code <<<"$answer" 2>/dev/null) || code=unknown
    # RESOURCE_EXHAUSTED (8) and UNAVAILABLE (14) are temporary. RetryInfo says how long to wait.
    pause=$(jq '[.details[]?.retryDelay // empty | rtrimstr("s") | tonumber | ceil][0] // 1' <<<"$answer" 2>/dev/null) || pause=1
    if [[ $code != 8 && $code != 14 ]] || ((attempt == 5 || SECONDS + pause >= deadline)); then
        jq --raw-output '.message, (.details[]?.fieldViolations[]? | "  \(.field): \(.description)")' <<<"$answer" \
            >&2 2>/dev/null || echo "$answer" >&2
        exit 1
    fi
    sleep "$pause.$((RANDOM % 10))" # a random part, so that clients do not retry at the same time
done
echo "$answer"
