"""The table from RPC to scopes, held against the API itself."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor import MethodDescriptor

from buf.validate import validate_pb2
from secateur.core.access import Scope
from secateur.server.grants import GRANTS
from tests.support.access import METHODS, field_at, path_of, request_of

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PROJECT = "projects/default"
NAMES_A_PROJECT = re.compile(r"\^\(?projects/")
READS = re.compile("(Get|List|Query|Watch|Wait|Quote|Resolve|Download)")


def test_every_rpc_has_a_grant_and_every_grant_an_rpc() -> None:
    assert {*GRANTS} - {REFLECTION} == {path_of(method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_an_operator_and_an_admin_may_call_everything(method: MethodDescriptor) -> None:
    assert GRANTS[path_of(method)].scopes >= {Scope.ADMIN, Scope.OPERATOR}


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_a_device_may_only_read_models(method: MethodDescriptor) -> None:
    grant = GRANTS[path_of(method)]
    if Scope.DEVICE in grant.scopes:
        assert method.containing_service.name == "ModelService"
        assert not grant.mutates


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_what_does_not_read_by_name_is_audited(method: MethodDescriptor) -> None:
    assert GRANTS[path_of(method)].mutates == (READS.match(method.name) is None)


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_the_project_of_a_request_is_found_where_the_schema_has_one(method: MethodDescriptor) -> None:
    path = GRANTS[path_of(method)].path
    field = field_at(method, path)
    pattern = field.GetOptions().Extensions[validate_pb2.field].string.pattern
    assert NAMES_A_PROJECT.match(pattern), f"{field.full_name} names no project: {pattern}"
    if len(path) == 1:  # of a stream it is one field further down
        first = {name for name in ("parent", "name") if name in method.input_type.fields_by_name}
        assert first in ({path[0]}, set())

    request = request_of(method)
    assert GRANTS[path_of(method)].name_in(request) == ""
    holder = request
    for name in path[:-1]:
        holder = getattr(holder, name)
    setattr(holder, path[-1], PROJECT)
    assert GRANTS[path_of(method)].name_in(request) == PROJECT
