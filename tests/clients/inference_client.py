"""An independent client of the Open Inference Protocol: made from the .proto files alone, it shares no code with Loadline.

Registers an ONNX file, promotes it, and asks it for the rows that onnxruntime answered when the file was exported: typed and raw, all
at once and one by one. Prints what it compared; exits 1 on the first difference.

    python inference_client.py --serving 127.0.0.1:7404 --model services/models/fixtures/logistic_multinomial
"""

import argparse
import json
import math
import pathlib
import struct
import sys
import tempfile

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
CONTENTS = {"BOOL": "bool_contents", "INT32": "int_contents", "INT64": "int64_contents", "FP32": "fp32_contents",
            "FP64": "fp64_contents", "BYTES": "bytes_contents"}
FORMATS = {"BOOL": "?", "INT32": "i", "INT64": "q", "FP32": "f", "FP64": "d"}
CHUNK = 10_000


def contracts(folder):
    """Generates the Python modules of the contracts used here into `folder`, and returns them."""
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    files = ["inference/grpc_service.proto", "loadline/serving/v1/model_service.proto"]
    command = ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    if protoc.main(command) != 0:
        sys.exit("the contracts do not compile")
    sys.path.insert(0, folder)
    from inference import grpc_service_pb2, grpc_service_pb2_grpc
    from loadline.serving.v1 import model_service_pb2, model_service_pb2_grpc
    return grpc_service_pb2, grpc_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc


def value(datatype, written):
    """A value of the golden vectors: floats that JSON does not have are written as texts."""
    if datatype in ("FP32", "FP64"):
        return float("nan") if written is None else float(written)
    return written.encode() if datatype == "BYTES" else written


def raw(datatype, values):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def unraw(datatype, data):
    if datatype != "BYTES":
        return list(struct.unpack(f"<{len(data) // struct.calcsize(FORMATS[datatype])}{FORMATS[datatype]}", data))
    texts = []
    while data:
        length = struct.unpack("<I", data[:4])[0]
        texts.append(data[4:4 + length])
        data = data[4 + length:]
    return texts


def width(tensor):
    return math.prod(tensor["shape"][1:])


def rows(tensors, first, last):
    """The same tensors, with these rows only."""
    cut = lambda tensor: tensor["values"][first * width(tensor):last * width(tensor)]
    return [{**tensor, "shape": [last - first, *tensor["shape"][1:]], "values": cut(tensor)} for tensor in tensors]


def request(pb, model, tensors, as_bytes):
    asked = pb.ModelInferRequest(model_name=model, id="golden")
    for tensor in tensors:
        values = [value(tensor["type"], written) for written in tensor["values"]]
        sent = asked.inputs.add(name=tensor["name"], datatype=tensor["type"], shape=tensor["shape"])
        if as_bytes:
            asked.raw_input_contents.append(raw(tensor["type"], values))
        else:
            getattr(sent.contents, CONTENTS[tensor["type"]]).extend(values)
    return asked


def compare(what, answer, expected, tolerance, as_bytes):
    outputs = {output.name: (index, output) for index, output in enumerate(answer.outputs)}
    for tensor in expected:
        index, output = outputs[tensor["name"]]
        if output.datatype != tensor["type"] or list(output.shape) != tensor["shape"]:
            sys.exit(f"{what}: {output.name} is {output.datatype} {list(output.shape)}, not {tensor['type']} {tensor['shape']}")
        if as_bytes:
            answered = unraw(output.datatype, answer.raw_output_contents[index])
        else:
            answered = list(getattr(output.contents, CONTENTS[output.datatype]))
        for ours, theirs in zip(answered, (value(tensor["type"], written) for written in tensor["values"]), strict=True):
            if isinstance(ours, float):
                near = abs(ours - theirs) <= tolerance["absolute"] + tolerance["relative"] * abs(theirs)
            else:
                near = ours == theirs
            if not near:
                sys.exit(f"{what}: {output.name} is {ours}, onnxruntime says {theirs}")


def promote(arguments, model, models_pb, models):
    file = arguments.model.with_suffix(".onnx").read_bytes()
    header = models_pb.RegisterRequest(header=models_pb.RegisterHeader(model=model))
    chunks = [models_pb.RegisterRequest(chunk=file[start:start + CHUNK]) for start in range(0, len(file), CHUNK)]
    version = models.Register(iter([header, *chunks]), timeout=30).version
    promotion = models_pb.PromoteRequest(model=model, version=version.number, reason="to be compared with onnxruntime")
    models.Promote(promotion, timeout=30)
    return version


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serving", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    golden = json.loads(arguments.model.with_suffix(".json").read_text())
    tolerance = {"absolute": 1e-4, "relative": 1e-4, **golden.get("tolerance", {})}
    model = arguments.model.name
    with tempfile.TemporaryDirectory() as folder:
        pb, pb_grpc, models_pb, models_grpc = contracts(folder)
        channel = grpc.insecure_channel(arguments.serving)
        inference, models = pb_grpc.GRPCInferenceServiceStub(channel), models_grpc.ModelServiceStub(channel)
        version = promote(arguments, model, models_pb, models)
        metadata = inference.ModelMetadata(pb.ModelMetadataRequest(name=model), timeout=10)
        if sorted(port.name for port in metadata.inputs) != sorted(tensor["name"] for tensor in golden["inputs"]):
            sys.exit(f"the inputs are {metadata.inputs}")
        if metadata.properties["sha256"] != version.sha256:
            sys.exit("another artifact answers than was registered")
        count = golden["inputs"][0]["shape"][0]
        batches = [(0, count)] + [(row, row + 1) for row in range(count)]
        for as_bytes in (False, True):
            for first, last in batches:
                answer = inference.ModelInfer(request(pb, model, rows(golden["inputs"], first, last), as_bytes), timeout=10)
                compare(f"rows {first} to {last}", answer, rows(golden["outputs"], first, last), tolerance, as_bytes)
                if answer.id != "golden" or answer.parameters["sha256"].string_param != version.sha256:
                    sys.exit(f"the answer says {answer.id} {answer.parameters}")
            print(f"{model}: {'raw' if as_bytes else 'typed'}, {count} rows at once and one by one")
        try:
            inference.ModelInfer(pb.ModelInferRequest(model_name=model), timeout=10)
            sys.exit("a request without inputs was answered")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.INVALID_ARGUMENT or "inputs" not in error.details():
                sys.exit(f"a request without inputs: {error.code()} {error.details()}")
    print("all equal")


if __name__ == "__main__":
    main()
