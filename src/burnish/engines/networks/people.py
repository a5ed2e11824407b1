"""How likely each pixel belongs to a person: MediaPipe's network for selfies, its graph rebuilt for OpenVINO.

Called by runners. OpenVINO reads `.tflite` files, but not this one: its last layer is an operator of MediaPipe's own, a
transposed convolution with a bias (`Convolution2DTransposeBias`: padding, stride across, stride down, as three
integers). So the graph is built here from what `tflite` reads. The network sees 256 x 256 pixels, the picture stretched to
that, as the graph `selfie_segmentation_cpu` of MediaPipe 0.10.21 shows it.
"""

from typing import Any, Final

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from burnish.engines.networks import ncnn, tflite
from burnish.engines.networks.device import Device
from burnish.errors import Unusable

Pixels = NDArray[Any]
Likelihood = NDArray[Any]  #: of float32

FILE: Final = ("mediapipe", "modules", "selfie_segmentation", "selfie_segmentation.tflite")

#: Pixels on a side of what the network sees and says.
SIDE: Final = 256
#: Operators that have a namesake, and nothing to be told.
_PLAIN: Final = {
    "add": ops.add,
    "multiply": ops.multiply,
    "relu": ops.relu,
    "hard_swish": ops.hswish,
    "logistic": ops.sigmoid,
}
_TRANSPOSED: Final = "Convolution2DTransposeBias"
#: How often a part of the picture is looked at closer, at most; and two that share as much are the same.
_LOOKS: Final = 4
_SAME: Final = 0.9
#: What lies round the person is shown along, in parts of its size.
_ROUND: Final = 0.15
#: From here on a pixel counts for where the person is.
_LIKELY: Final = 0.5
#: Fewer pixels than this part of what the network sees are nobody.
_LEAST: Final = 0.002


def installed() -> bool:
    """Whether the network is there to be loaded."""
    try:
        ncnn.find(*FILE)
    except Unusable:
        return False
    return True


def load(device: Device) -> "People":
    """Read the weights; compiled at first use.

    Raises:
        Unusable: the network is not installed.
    """
    return People(device)


class People:
    """The loaded network."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._model = graph(tflite.read(ncnn.find(*FILE)))
        self._compiled: list[Any] = []

    def look(self, pixels: Pixels) -> Likelihood:
        """For 8-bit RGB `[H, W, 3]`: 0 to 1 for every pixel, `[H, W]`; all 0 where nobody is.

        Looks at the whole, then closer at where somebody is, and again until that stays the same: in a picture four times as
        wide as a person half of that person is missed at first. Each time the picture and its mirror image are shown, and
        the mean counts: the network is not symmetric, and edges that both agree on are better.
        """
        height, width = pixels.shape[:2]
        made = _resized(self._said(pixels), height, width)
        place = (0, height, 0, width)
        for _ in range(_LOOKS):
            likely = made >= _LIKELY
            if likely.mean() < _LEAST:
                return np.zeros((height, width), np.float32)
            before, place = place, (*_span(likely.max(1)), *_span(likely.max(0)))
            if _share(place, before) > _SAME:
                break
            top, bottom, left, right = place
            part = np.ascontiguousarray(pixels[top:bottom, left:right])
            made = np.zeros_like(made)
            made[top:bottom, left:right] = _resized(self._said(part), bottom - top, right - left)
        return made

    def rest(self) -> None:
        """Give back what the network worked with; it stays compiled."""
        for compiled in self._compiled:
            compiled.release_memory()

    def _said(self, pixels: Pixels) -> Likelihood:
        if not self._compiled:
            self._compiled = self._device.streams.compile(self._device.core, self._model, "f32")
        how = cv2.INTER_AREA if min(pixels.shape[:2]) > SIDE else cv2.INTER_LINEAR
        shown = cv2.resize(pixels, (SIDE, SIDE), interpolation=how).astype(np.float32) / np.float32(255)
        both = (shown, np.ascontiguousarray(shown[:, ::-1]))
        said, mirrored = (self._compiled[0](view[None])[0][0, ..., 0] for view in both)
        made: Likelihood = (said + mirrored[:, ::-1]) / 2
        return made


def _span(there: NDArray[Any]) -> tuple[int, int]:
    """From and to where something is there, with what lies round it."""
    places = np.flatnonzero(there)
    first, last = int(places[0]), int(places[-1]) + 1
    margin = max(1, round(_ROUND * (last - first)))
    return max(0, first - margin), min(len(there), last + margin)


def _share(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Of two places (top, bottom, left, right) what both have, as a part of what either has."""
    both = max(0, min(one[1], other[1]) - max(one[0], other[0])) * max(
        0, min(one[3], other[3]) - max(one[2], other[2])
    )
    areas = [(place[1] - place[0]) * (place[3] - place[2]) for place in (one, other)]
    return both / (sum(areas) - both)


def _resized(likelihood: Likelihood, height: int, width: int) -> Likelihood:
    made: Likelihood = cv2.resize(likelihood, (width, height), interpolation=cv2.INTER_LINEAR)
    return made


# --- the graph ------------------------------------------------------------------------------------------------------


def graph(network: tflite.Network) -> ov.Model:
    """The network as OpenVINO's: `[1, H, W, C]` in and out, in single precision.

    Raises:
        Unusable: it holds what is not expected of it.
    """
    (input_,), (output,) = network.inputs, network.outputs
    source = ops.parameter(network.tensors[input_].shape, np.float32)
    values: dict[int, Any] = {input_: ops.transpose(source, _integers(0, 3, 1, 2))}
    arrays = {place: tensor.data for place, tensor in enumerate(network.tensors) if tensor.data is not None}
    for operator in network.operators:
        (made,) = operator.outputs
        if operator.kind == "dequantize":
            arrays[made] = arrays[operator.inputs[0]].astype(np.float32)
        else:
            given = [values[place] for place in operator.inputs if place in values]
            held = [arrays[place] for place in operator.inputs if place in arrays]
            values[made] = _computed(operator, given, held)
    made = ops.transpose(values[output], _integers(0, 2, 3, 1))
    return ov.Model([made], [source], "people")


def _computed(operator: tflite.Operator, given: list[Any], held: list[Pixels]) -> Any:
    """One operator: `given` are values, channels first; `held` what the file holds for it."""
    options = operator.options
    if options.get("activation"):
        raise Unusable(f"The network's {operator.kind} has an activation of its own, which is not expected.")
    if operator.kind in _PLAIN:
        return _PLAIN[operator.kind](*given)
    match operator.kind:
        case "convolution" | "depthwise_convolution":
            return _convolution(operator, given[0], *held)
        case "average_pool" if list(given[0].get_output_shape(0)[2:]) == [
            options["height"],
            options["width"],
        ]:
            return ops.reduce_mean(given[0], _integers(2, 3), keep_dims=True)
        case "resize_bilinear" if options["half_pixel_centers"] and not options["align_corners"]:
            return ops.interpolate(
                given[0],
                ops.constant(held[0].astype(np.int64)),
                "linear_onnx",
                "sizes",
                coordinate_transformation_mode="half_pixel",
                axes=_integers(2, 3),
            )
        case kind if kind == _TRANSPOSED:
            return _transposed(operator, given[0], *held)
    raise Unusable(f"The network has an operator that is not expected: {operator.kind}.")


def _convolution(operator: tflite.Operator, value: Any, weight: Pixels, bias: Pixels) -> Any:
    options = operator.options
    stride = [options["stride_y"], options["stride_x"]]
    dilation = [options["dilation_y"], options["dilation_x"]]
    pad = "valid" if options["padding"] else "same_upper"
    if operator.kind == "convolution":
        kernel = ops.constant(np.ascontiguousarray(weight.transpose(0, 3, 1, 2)))
        made = ops.convolution(value, kernel, stride, [0, 0], [0, 0], dilation, auto_pad=pad)
    else:
        kernel = ops.constant(np.ascontiguousarray(weight.transpose(3, 0, 1, 2)[:, :, None]))
        made = ops.group_convolution(value, kernel, stride, [0, 0], [0, 0], dilation, auto_pad=pad)
    return ops.add(made, ops.constant(bias.reshape(1, -1, 1, 1)))


def _transposed(operator: tflite.Operator, value: Any, weight: Pixels, bias: Pixels) -> Any:
    """Every pixel becomes a block of its own: nothing overlaps where the kernel is as large as the stride."""
    _padding, across, down = np.frombuffer(operator.custom, "<i4").tolist()
    if weight.shape[1:3] != (down, across):
        raise Unusable("The network's last layer overlaps, which is not expected.")
    kernel = ops.constant(np.ascontiguousarray(weight.transpose(3, 0, 1, 2)))
    made = ops.convolution_backprop_data(value, kernel, [down, across])
    return ops.add(made, ops.constant(bias.reshape(1, -1, 1, 1)))


def _integers(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))
