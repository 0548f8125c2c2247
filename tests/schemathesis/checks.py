"""Checks of rules that the description cannot express."""

import schemathesis


# The white space that the service removes around a value: Unicode's White_Space.
WHITE_SPACE = "".join(map(chr, [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))


@schemathesis.hook
def filter_body(_context, body):
    """Leaves out values with white space around them: the description's limits apply to the text without it."""
    return is_trimmed(body)


@schemathesis.hook
def filter_query(_context, query):
    """The same for parameters."""
    return is_trimmed(query)


@schemathesis.hook
def map_query(_context, query):
    """Does not wait for changes: nobody else makes any."""
    if query and isinstance(query.get("waitSeconds"), int):
        query["waitSeconds"] = min(query["waitSeconds"], 0)
    return query


def is_trimmed(value):
    """Whether no text has white space around it."""
    return all(text == text.strip(WHITE_SPACE) for text in texts(value))


def texts(value):
    """Every text in a JSON value, and the names of members: identifiers can be such names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from texts(element)
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts(member)


# Rules of fields that depend on what exists, or on the text of a JSON object.
NOT_IN_THE_DESCRIPTION = ("type is required for a new device", "must not contain the character U+0000")


@schemathesis.check
def valid_requests_fail_only_for_lack_of_devices(_context, response, case):
    """A valid request fails only if none of its devices exists, or if it names a page or a revision that does not exist."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    error = response.json()
    is_of_state = error["code"] == "FAILED_PRECONDITION" or error["reason"] in ("INVALID_PAGE_TOKEN", "REVISION_IN_FUTURE")
    violations = error.get("fieldViolations", [])
    is_not_described = violations and all(any(rule in violation["description"] for rule in NOT_IN_THE_DESCRIPTION) for violation in violations)
    assert is_of_state or is_not_described, f"a valid request failed with {error['code']}: {response.text}"


@schemathesis.check
def errors_name_their_request(_context, response, _case):
    """Every error has the envelope, with the request id of the header."""
    if response.status_code == 200:
        return
    envelope = response.json()
    assert next(iter(envelope)) == "error", f"an envelope begins with the error: {response.text}"
    assert [envelope["requestId"]] == response.headers["x-request-id"], "the envelope and the header have different ids"
