"""Lets calls in or turns them away, in one place, before any service sees them."""

from __future__ import annotations

from collections.abc import Container, Mapping

from google.protobuf.message import Message

from secateur.core.access import Principal
from secateur.core.errors import NotFound, PermissionDenied
from secateur.core.missing import COLLECTIONS, missing
from secateur.server.authentication import Authentication, Metadata
from secateur.server.grants import GRANTS, Grant


class Admission:
    """A call that was let in, so far.

    Args:
        principal: Who calls.
        grant: What is granted.
        authentication: Tells whether the caller is still known.

    Attributes:
        principal: Who calls.
        grant: What is granted.
        project: The caller's project; if the caller sees all, that which the request names, or empty.
        resource: What the request names; after an answer that has a name, what that names.
    """

    def __init__(self, principal: Principal, grant: Grant, authentication: Authentication) -> None:
        self.principal = principal
        self.grant = grant
        self.project = principal.project or ""
        self.resource = ""
        self._authentication = authentication
        self._fields: Container[str] = ()

    def check_scope(self) -> None:
        """Refuses a caller who may not call the method at all.

        Raises:
            PermissionDenied: SCOPE_INSUFFICIENT.
        """
        if self.principal.scope not in self.grant.scopes:
            needed = " or ".join(sorted(self.grant.scopes))
            raise PermissionDenied(
                "SCOPE_INSUFFICIENT",
                f"This needs a token of scope {needed}. Received: one of scope {self.principal.scope}",
                metadata={"scope": self.principal.scope.value},
            )

    def check(self, request: Message) -> None:
        """Refuses a request about a project that is not the caller's, as if what it names were not there.

        Raises:
            NotFound: PROJECT_NOT_FOUND, or the reason of the kind of resource.
        """
        self._fields = request.DESCRIPTOR.fields_by_name
        name = self.grant.name_in(request)
        if not name:
            return
        self.resource = name
        kind, _, rest = name.partition("/")
        if kind != "projects":  # built in: everybody's
            return
        project, _, place = rest.partition("/")
        if not self.principal.sees(project):
            raise _not_found(name, project, place, self._field)
        self.project = project

    def locate(self, error: Exception) -> None:
        """Makes a not-found error name the field of the request that is at fault: repositories do not know it."""
        if isinstance(error, NotFound) and error.field and error.field.partition(".")[0].partition("[")[0] not in self._fields:
            error.field = self._field

    def answered(self, response: Message) -> None:
        """Notes what an answer is about: the name of what a call has made is not in its request."""
        self.resource = getattr(response, "name", "") or self.resource

    @property
    def _field(self) -> str:
        return ".".join(self.grant.path)

    async def check_still_valid(self) -> None:
        """Refuses to go on with a call whose token has ended meanwhile.

        Raises:
            Unauthenticated: As when the call began.
        """
        await self._authentication.check_still_valid(self.principal)


class Access:
    """Lets calls in.

    Args:
        authentication: Tells who calls.
        grants: Who may call what.
    """

    def __init__(self, authentication: Authentication, grants: Mapping[str, Grant] = GRANTS) -> None:
        self._authentication = authentication
        self._grants = grants

    async def admit(self, method: str, metadata: Metadata) -> Admission:
        """Finds out who calls, and what is granted of the method; its scope and requests are checked by the admission.

        Args:
            method: Full name, `/package.Service/Method`.
            metadata: Metadata of the call.

        Raises:
            Unauthenticated: If nobody knows who calls.
            PermissionDenied: METHOD_NOT_GRANTED, for a method that is not in the table.
        """
        principal = await self._authentication.principal_of(metadata)
        grant = self._grants.get(method)
        if grant is None:
            raise PermissionDenied("METHOD_NOT_GRANTED", f"No token is good for this method. Received: {method}")
        return Admission(principal, grant, self._authentication)


def _not_found(name: str, project: str, place: str, field: str) -> NotFound:
    collection, _, identifier = place.partition("/")
    if collection not in COLLECTIONS:
        return NotFound(
            "PROJECT_NOT_FOUND", f"There is no such project, or this token is for another. Received: {name}", field=field
        )
    return missing(collection, project, identifier.partition("/")[0], field=field)
