"""The Open Inference Protocol's gRPC messages, built when the process starts: no generated code, and a pool of their own."""

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["SERVICE", "Messages"]

SERVICE = "inference.GRPCInferenceService"
# One message a line, as in the protocol's published definition; `*` is repeated, `%` a map from text, `|` a oneof's arms.
_SCHEMA = """
ServerLiveRequest:
ServerLiveResponse: bool live=1
ServerReadyRequest:
ServerReadyResponse: bool ready=1
ModelReadyRequest: string name=1, string version=2
ModelReadyResponse: bool ready=1
ServerMetadataRequest:
ServerMetadataResponse: string name=1, string version=2, *string extensions=3
ModelMetadataRequest: string name=1, string version=2
TensorMetadata: string name=1, string datatype=2, *int64 shape=3
ModelMetadataResponse: string name=1, *string versions=2, string platform=3, *TensorMetadata inputs=4, *TensorMetadata outputs=5
InferParameter: |bool bool_param=1, |int64 int64_param=2, |string string_param=3
InferTensorContents: *bool bool_contents=1, *int32 int_contents=2, *int64 int64_contents=3, *uint32 uint_contents=4, \
*uint64 uint64_contents=5, *float fp32_contents=6, *double fp64_contents=7, *bytes bytes_contents=8
InferInputTensor: string name=1, string datatype=2, *int64 shape=3, %InferParameter parameters=4, InferTensorContents contents=5
InferRequestedOutputTensor: string name=1, %InferParameter parameters=2
ModelInferRequest: string model_name=1, string model_version=2, string id=3, %InferParameter parameters=4, \
*InferInputTensor inputs=5, *InferRequestedOutputTensor outputs=6, *bytes raw_input_contents=7
InferOutputTensor: string name=1, string datatype=2, *int64 shape=3, %InferParameter parameters=4, InferTensorContents contents=5
ModelInferResponse: string model_name=1, string model_version=2, string id=3, %InferParameter parameters=4, \
*InferOutputTensor outputs=5, *bytes raw_output_contents=6
"""
_FIELD = re.compile(r"(?P<mark>[*%|]?)(?P<type>\w+) (?P<name>\w+)=(?P<number>\d+)")
_Field = descriptor_pb2.FieldDescriptorProto


class Messages:
    """The message classes by name: `Messages().ModelInferRequest`."""

    def __init__(self) -> None:
        """Build all of them."""
        file = descriptor_pb2.FileDescriptorProto(
            name="tournant/open_inference.proto", package="inference", syntax="proto3"
        )
        names = []
        for line in filter(None, _SCHEMA.strip().splitlines()):
            name, _, fields = line.partition(":")
            names.append(name)
            _describe(file.message_type.add(name=name), fields)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in names
        }

    def __getattr__(self, name: str) -> Any:
        """Give a message's class."""
        try:
            return self.__dict__["_classes"][name]
        except KeyError:
            raise AttributeError(name) from None


def _describe(message: Any, fields: str) -> None:
    for found in _FIELD.finditer(fields):
        field = message.field.add(name=found["name"], number=int(found["number"]), label=_Field.LABEL_OPTIONAL)
        if found["mark"] == "%":
            entry = message.nested_type.add(name=f"{found['name'].title()}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
            value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL)
            _type(value, found["type"])
            field.label = _Field.LABEL_REPEATED
            _type(field, f"{message.name}.{entry.name}")
            continue
        if found["mark"] == "*":
            field.label = _Field.LABEL_REPEATED
        if found["mark"] == "|":
            if not message.oneof_decl:
                message.oneof_decl.add(name="choice")
            field.oneof_index = 0
        _type(field, found["type"])


def _type(field: Any, name: str) -> None:
    plain = getattr(_Field, f"TYPE_{name.upper()}", None)
    if plain is not None:
        field.type = plain
        return
    field.type = _Field.TYPE_MESSAGE
    field.type_name = f".inference.{name}"
