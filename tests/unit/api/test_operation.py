"""Operations: reading requests and describing them."""

import re

import pytest

from tournant.api.openapi import openapi_document
from tournant.api.operation import Operation
from tournant.api.table import OPERATIONS
from tournant.errors import Invalid


def named(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


def test_names_and_addresses_are_unique():
    """Each operation has a name of its own, and a method and path of its own."""
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_path_parameter_is_a_field_of_the_request():
    """A path names only fields that its request has."""
    for operation in OPERATIONS:
        assert set(operation.parameters) <= set(operation.request.__struct_fields__), operation.name


def test_query_text_becomes_numbers():
    """A query's text is read as the field's type."""
    request = named("runs.list").read({"limit": "7", "before": "12.5"}, strict=False)
    assert (request.limit, request.before) == (7, 12.5)


def test_an_unknown_field_is_refused_by_name():
    """A misspelt field is an error that names it and what there is."""
    with pytest.raises(Invalid, match=r"takes no field 'limt'.*before.*limit") as caught:
        named("runs.list").read({"limt": 3})
    assert caught.value.place == "limt"


def test_a_wrong_type_is_refused_with_its_place():
    """A value of the wrong type is an error that says where."""
    with pytest.raises(Invalid, match=re.escape("$.labels[0].value")):
        named("labels.add").read({"deployment": "d", "labels": [{"value": "high", "key": "k"}]})


def test_openapi_describes_every_operation():
    """The document has a path and an operation id for each, and only references that resolve."""
    document = openapi_document(OPERATIONS, version="1")
    ids = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert ids == {operation.name for operation in OPERATIONS}
    references = set(re.findall(r"#/components/schemas/([\w.\[\], -]+)", str(document)))
    assert references <= set(document["components"]["schemas"])
