"""Exit codes: part of the interface, for scripts."""

from __future__ import annotations

from typing import Final

from secateur.client.errors import DeadlineExceeded, Infeasible, InvalidArgument, SecateurError, UsageError, WaitTimeout

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
TIMEOUT: Final = 3
INFEASIBLE: Final = 4
INTERRUPTED: Final = 130

EPILOG: Final = (
    "Exit codes: 0 ok; 1 failed (the call, or the job: FAILED, CANCELLED, EXPIRED); 2 usage (the request is wrong, as seen "
    "here or by the server); 3 timeout (the job goes on); 4 infeasible (a limit cannot be met, or no model fits); 130 "
    "interrupted (the job goes on). Answers go to standard output; progress and errors to standard error, where with --json "
    'an error is one line {"error": {"code", "reason", "message", "field", "metadata"}}.'
)


def exit_code(error: SecateurError) -> int:
    """Returns the exit code for an error."""
    match error:
        case UsageError() | InvalidArgument():
            return USAGE
        case WaitTimeout() | DeadlineExceeded():
            return TIMEOUT
        case Infeasible():
            return INFEASIBLE
    return FAILED


def exit_code_of_state(state: str) -> int:
    """Returns the exit code for a job that is done."""
    return {"SUCCEEDED": OK, "INFEASIBLE": INFEASIBLE}.get(state, FAILED)
