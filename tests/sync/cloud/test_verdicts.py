import pytest

from holdfast.errors import CloudError
from holdfast.sync.cloud.verdicts import Verdict, verdict


@pytest.mark.parametrize(
    ("code", "connected", "expected"),
    [
        ("UNAVAILABLE", False, Verdict.LINK),
        ("DEADLINE_EXCEEDED", False, Verdict.LINK),
        ("CANCELLED", False, Verdict.LINK),
        ("UNAVAILABLE", True, Verdict.UNWELL),
        ("DEADLINE_EXCEEDED", True, Verdict.UNWELL),
        ("UNAUTHENTICATED", True, Verdict.LOGIN),
        ("PERMISSION_DENIED", True, Verdict.LOGIN),
        ("INVALID_ARGUMENT", True, Verdict.QUARANTINE),
        *[
            (code, True, Verdict.RETRY)
            for code in ("CANCELLED", "UNKNOWN", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "ABORTED")
        ],
        *[
            (code, True, Verdict.RETRY)
            for code in ("FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "DATA_LOSS")
        ],
    ],
)
def test_each_code_has_its_verdict(code: str, connected: bool, expected: Verdict) -> None:
    assert verdict(CloudError(code, "why", connected=connected)) is expected


def test_a_unit_is_quarantined_for_nothing_but_invalid_argument_even_without_a_connection() -> None:
    assert verdict(CloudError("UNIMPLEMENTED", "HTTP 404", connected=False)) is Verdict.RETRY


@pytest.mark.parametrize(
    ("message", "cut"),
    [
        ("Stream removed (recvmsg:Connection reset by peer (104))", True),
        ("Stream removed (Socket closed (GOAWAY received; Error code: 0; Debug Text: ))", True),
        ("Stream removed (RST_STREAM (Received RST_STREAM with error code 7))", False),
        ("Stream removed (Data frame with END_STREAM flag received)", False),
        ("try later", False),
    ],
)
def test_the_end_of_one_call_is_no_cut_of_the_link(message: str, cut: bool) -> None:
    assert CloudError("UNAVAILABLE", message, connected=True).is_cut is cut
    assert CloudError("UNAVAILABLE", message, connected=False).is_cut
