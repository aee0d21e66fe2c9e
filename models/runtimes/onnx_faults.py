"""ONNX Runtime's exceptions, as sentences that a caller may read.

Its messages carry code, source file, line and C++ signature, and for files their paths. Whose fault a failed call was is
told by its code and, where that says only FAIL, by what it complains of:

    INVALID_ARGUMENT      the caller's: values out of range, a size that a layer cannot take
    FAIL about a shape    the caller's if the signature leaves dims free, else the model's
    anything else         the model's
"""

from __future__ import annotations

import re

from models.errors import InferenceError, InvalidInput, LoadError, Problem

_LONGEST = 240
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_NODE = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'.*?' Status Message: ")
# "/src/x.h:563 void onnxruntime::F::Init(long, long) " and the short form "x.h:59 Compute "
_LONG_PLACE = re.compile(r"[\w./\\-]*[/\\][\w.-]+\.(?:h|hpp|cc|cpp|cu|cuh):\d+ .*?\)(?: const)?(?: \[.*?\])?(?=\s) ?")
_SHORT_PLACE = re.compile(r"\b[\w-]+\.(?:h|hpp|cc|cpp|cu|cuh):\d+ \w+ ?")
_CONDITION = re.compile(r"^(?P<node>\w+: )?.{1,200}? was false\.\s*(?=\S)")
_DIRECTORIES = re.compile(r"""(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'":,;]+[/\\])+""")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_ABOUT_SHAPES = re.compile(r"dimension|broadcast|reshape|shape|\brank\b|\baxis\b", re.IGNORECASE)
_NAMED_INPUT = re.compile(r"for input: (\S+)")

_IR = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)", re.DOTALL)
_NO_KERNEL = re.compile(r"Could not find an implementation for ([\w.:]+)\((\d+)\)")
_NO_OPERATOR = re.compile(r"Fatal error: ([\w.:]+)\(-?\d+\) is not a registered function/op|No Op registered for (\w+)")
_DATA = re.compile(r"external|GetExtDataFromTensorProto", re.IGNORECASE)


def sentence(error: BaseException) -> str:
    """The gist of its message: one line without code, paths, addresses or places in the source."""
    text = str(error).strip() or type(error).__name__
    text = _CODE.sub("", text).strip().splitlines()[0]
    text = _NODE.sub(lambda match: f"{match[1]}: ", text)
    text = _SHORT_PLACE.sub("", _LONG_PLACE.sub("", text))
    text = _CONDITION.sub(lambda match: match["node"] or "", text)
    text = _ADDRESS.sub("…", _DIRECTORIES.sub("", text))
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def of_load(error: BaseException, release: str) -> LoadError:
    """Why ONNX Runtime ``release`` did not take the file, and how to mend that."""
    text = str(error)
    if match := _IR.search(text):
        return LoadError(
            f"the file's IR version is {match[1]}, and ONNX Runtime {release} knows versions up to {match[2]}: "
            f"upgrade onnxruntime, or save the model with ir_version={match[2]}"
        )
    if match := _OPSET.search(text):
        return LoadError(
            f"the model uses opset {match[1]} of {match[2]}, and ONNX Runtime {release} knows opsets up to {match[3]}: "
            f"upgrade onnxruntime, or export the model with opset {match[3]}"
        )
    if match := _NO_OPERATOR.search(text):
        return LoadError(
            f"the model uses the operator {match[1] or match[2]}, which ONNX Runtime {release} has not: "
            "export the model with standard operators of the opset it declares"
        )
    if match := _NO_KERNEL.search(text):
        return LoadError(
            f"ONNX Runtime {release} cannot compute the operator {match[1]} as of opset {match[2]} for these datatypes on this "
            "provider: export the model with a newer opset, or with FP32 tensors"
        )
    if type(error).__name__ == "InvalidProtobuf":
        return LoadError("the file is not an ONNX model, or was cut short: copy it again, or export the model anew")
    if _DATA.search(text):
        return LoadError(f"the model's data file is cut short or does not belong to it ({sentence(error)}): copy both again")
    return LoadError(f"ONNX Runtime {release} refused the model ({sentence(error)}): check the file, or export it anew")


def of_call(error: BaseException, free_dims: bool) -> InvalidInput | InferenceError:
    """Whose fault a failed call was; ``free_dims``: whether the signature leaves the caller a shape to choose."""
    gist = sentence(error)
    code = type(error).__name__
    if "Failed to allocate memory" in gist:
        return InferenceError(f"the model needs more memory for this call than there is ({gist})")
    if code == "InvalidArgument" or (code == "Fail" and free_dims and _ABOUT_SHAPES.search(gist)):
        named = _NAMED_INPUT.search(gist)
        return InvalidInput(Problem(f"inputs.{named[1]}" if named else "inputs", f"the model cannot take these values: {gist}"))
    return InferenceError(f"the model failed: {gist}")
