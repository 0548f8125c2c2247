"""What the description cannot say, and schemathesis cannot know."""

import schemathesis


# What the service drops around a value: Unicode's White_Space.
WHITE_SPACE = "".join(map(chr, [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))


@schemathesis.hook
def filter_body(_context, body):
    """Values with white space around them are left to the tests of the service: whether they are right is not to be told from
    the description's limits, which are those of what is between."""
    return all(text == text.strip(WHITE_SPACE) for text in texts(body))


def texts(value):
    """Every text in a JSON value, names of members excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from texts(element)
    elif isinstance(value, dict):
        for member in value.values():
            yield from texts(member)


@schemathesis.check
def right_requests_are_refused_for_want_of_devices_only(_context, response, case):
    """A request that is as described is refused only when none of its identifiers leads to a device."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    code = response.json()["code"]
    assert code == "FAILED_PRECONDITION", f"a right request was answered {code}: {response.text}"


@schemathesis.check
def refusals_name_their_request(_context, response, _case):
    """The envelope and the header name one id, and every refusal has the envelope."""
    if response.status_code == 200:
        return
    envelope = response.json()
    assert next(iter(envelope)) == "error", f"an envelope begins with the error: {response.text}"
    assert [envelope["requestId"]] == response.headers["x-request-id"], "the envelope and the header name two ids"
