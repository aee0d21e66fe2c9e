"""An ``[image]`` section held against a model's tensors: everything that is to be done to an image, with nothing left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from models.errors import LoadError
from models.signature import Signature
from models.tensor import FLOATS, INTEGERS, TensorSpec
from models.vision.axes import DEPTHS, Axes, axes, called, depths_named, sides, wrong
from models.vision.declaration import LONGEST, Channels, Image, Interpolation, Layout, Resize, Scores
from models.vision.labels import FILE as LABELS
from models.vision.levels import check_levels
from models.vision.presets import PRESETS, Habit


@dataclass(frozen=True, slots=True)
class Recipe:
    """``height`` and ``width`` are what the model is given; None where that follows from each image (``crop`` is False then).

    ``short_side`` is the short side's length before the crop. ``mean`` and ``std`` have one number a channel and are in the order
    of the channels; pixels of 0 to 255 become ``(pixel * scale - mean) / std``. ``flat``: the model takes [rows, values].
    ``labels``: the classes' names by index; empty where the model has none. ``threshold`` is -inf where none was set.
    """

    spec: TensorSpec
    output: str
    height: int | None
    width: int | None
    resize: Resize
    short_side: int
    crop: bool
    interpolation: Interpolation
    channels: Channels
    layout: Layout
    flat: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: tuple[int, int, int]
    fill: tuple[int, int, int]
    scores: Scores
    labels: tuple[str, ...]
    top_k: int
    threshold: float

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of one image as the model takes it, without the rows; None where it follows from each image."""
        return None if self.height is None or self.width is None else self.shape_of(self.height, self.width)

    def shape_of(self, height: int, width: int) -> tuple[int, ...]:
        """Of an image of that size as the model takes it, without the rows."""
        depth = len(self.mean)
        if self.flat:
            return (height * width * depth,)
        if len(self.spec.shape) == 3:
            return (height, width)
        return (depth, height, width) if self.layout == "NCHW" else (height, width, depth)


def recipe(image: Image, signature: Signature, labels: Sequence[str] = ()) -> Recipe:
    """Raises LoadError, naming the key and the fix, where the section and the tensors contradict each other."""
    habit = PRESETS[image.preset]
    spec = _input(image, signature)
    _check_datatype(image, spec)
    found = axes(image, spec)
    channels = _channels(image, habit, spec, found)
    resize = image.resize or habit.resize
    crop = _crop(image, resize)
    height, width = _size(image, habit, spec, found, natural=resize == "short_side" and not crop)
    mean, std = _colours(image, habit, channels)
    scale = habit.scale if image.scale is None else image.scale
    check_levels(spec, scale, mean, std)
    output, classes = _output(image, signature)
    scores = image.scores or habit.scores
    _check_classes(scores, output, classes, labels)
    return Recipe(
        spec=spec,
        output=output.name,
        height=height,
        width=width,
        resize=resize,
        short_side=_short_side(image, habit, height, width),
        crop=crop,
        interpolation=image.interpolation or habit.interpolation,
        channels=channels,
        layout=found.layout,
        flat=found.flat,
        scale=scale,
        mean=mean,
        std=std,
        background=image.background,
        fill=image.fill,
        scores=scores,
        labels=tuple(labels),
        top_k=image.top_k,
        threshold=-inf if image.threshold is None else image.threshold,
    )


def _input(image: Image, signature: Signature) -> TensorSpec:
    needed = [spec for spec in signature.inputs if not spec.optional] or list(signature.inputs)
    spec = _named("input", image.input, signature.inputs) if image.input is not None or len(needed) != 1 else needed[0]
    if others := [other.name for other in signature.inputs if other.name != spec.name and not other.optional]:
        raise wrong("input", f"beside {spec.name!r} the model needs {', '.join(map(repr, others))}", "a model of one needed input")
    _check_rows(spec, signature.batched, "input")
    return spec


def _output(image: Image, signature: Signature) -> tuple[TensorSpec, int | None]:
    """The output that has the scores, and how many classes it has, where that is known."""
    outputs = signature.outputs
    spec = _named("output", image.output, outputs) if image.output is not None or len(outputs) != 1 else outputs[0]
    if spec.datatype not in FLOATS | INTEGERS:
        raise wrong("output", f"{called(spec)} has no scores", "an output of numbers")
    _check_rows(spec, signature.batched, "output")
    dims = [dim for dim in spec.shape[1:] if dim != 1]
    if len(dims) > 1:
        raise wrong("output", f"{called(spec)} has more than a score for each class", "an output of [-1, classes]")
    return spec, None if -1 in dims else prod(dims)


def _named(key: str, name: str | None, specs: Sequence[TensorSpec]) -> TensorSpec:
    names = [spec.name for spec in specs]
    if not names:
        raise wrong(key, f"the model has no {key}", "a model that has one")
    if name is None:
        every = " and ".join(map(repr, names))
        raise wrong(key, f"the model has {len(names)} {key}s, {every}", f"the one to use named, as {key} = {names[0]!r}")
    if name not in names:
        raise wrong(key, f"the model has no {key} {name[:80]!r}", f"{' or '.join(map(repr, names))}")
    return specs[names.index(name)]


def _check_rows(spec: TensorSpec, batched: bool, key: str) -> None:
    if not batched and (not spec.shape or spec.shape[0] not in (-1, 1)):
        raise wrong(key, f"{called(spec)} has no first dim that counts images", "it free, or 1: export the model with a free batch")


def _check_datatype(image: Image, spec: TensorSpec) -> None:
    if spec.datatype not in FLOATS | INTEGERS:
        raise wrong("input", f"{called(spec)} does not hold pixels", "an input of numbers")
    if image.datatype is not None and image.datatype != spec.datatype:
        raise wrong("datatype", f"it is {image.datatype[:80]!r}", f"{spec.datatype!r}, which {spec.name!r} takes, or nothing")


def _channels(image: Image, habit: Habit, spec: TensorSpec, found: Axes) -> Channels:
    channels = image.channels or ("L" if found.depth == 1 else habit.channels)
    if found.depth not in (None, DEPTHS[channels]):
        fitting = {1: "'L', grey", 3: "'RGB' or 'BGR'"}.get(found.depth, "an input of 1 or 3 channels")
        raise wrong(
            "channels", f"{called(spec)} takes {depths_named((found.depth,))}, {channels!r} has {DEPTHS[channels]}", fitting
        )
    return channels


def _crop(image: Image, resize: Resize) -> bool:
    """Whether the middle is cut out."""
    if resize == "short_side":
        return image.crop != "none"
    if image.crop == "center":
        raise wrong("crop", f"resize = {resize!r} leaves nothing to cut off", "resize = 'short_side', or no crop")
    if image.short_side is not None:
        raise wrong("short_side", f"resize = {resize!r} does not go by it", "resize = 'short_side', or no short_side")
    return False


def _size(image: Image, habit: Habit, spec: TensorSpec, found: Axes, *, natural: bool) -> tuple[int | None, int | None]:
    """Height and width that the model is given. ``natural``: whatever an image has once its short side is of that length."""
    fixed = (found.height, found.width)
    if natural:
        if image.size is None and fixed == (None, None) and not found.flat:
            return None, None
        sized = "size is set" if image.size is not None else f"{called(spec)} has a size"
        raise wrong("crop", f"{sized}, and without a crop each image has another", "'center', or resize = 'squash' or 'letterbox'")
    if image.size is not None:
        height, width = sides(image.size)
        if found.height not in (None, height) or found.width not in (None, width):
            raise wrong("size", f"it is {height} x {width}, height and width", f"what fits {called(spec)} or nothing")
        return height, width
    if max(side or 1 for side in fixed) > LONGEST:
        raise wrong("input", f"{called(spec)} takes a larger image than is made", f"at most {LONGEST} pixels of a side")
    if None not in fixed:
        return fixed
    if fixed != (None, None) or habit.size is None:
        raise wrong("size", f"{called(spec)} leaves it free", "it named, such as 224, or [224, 160]: height and width")
    return habit.size, habit.size


def _short_side(image: Image, habit: Habit, height: int | None, width: int | None) -> int:
    """Before the crop. Where there is none, what is to be kept of the image's detail."""
    if image.short_side is not None:
        return image.short_side
    # By the longer one: what is cut out lies within the image, whatever its shape.
    longer = habit.size if height is None or width is None else max(height, width)
    if longer is None:
        raise wrong("short_side", f"the preset {image.preset!r} has none", "the length that the short side is given, such as 224")
    return round(longer * habit.margin)


def _colours(image: Image, habit: Habit, channels: Channels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    turned = 1 if channels in (habit.channels, "L") else -1
    mean = _each("mean", image.mean, habit.mean[::turned], channels)
    std = _each("std", image.std, habit.std[::turned], channels)
    if min(std) <= 0:
        raise wrong("std", f"it has {min(std):g}, and pixels are divided by it", "numbers of more than 0")
    return mean, std


def _each(key: str, given: tuple[float, ...] | None, usual: tuple[float, ...], channels: Channels) -> tuple[float, ...]:
    """What was given, else the preset's, for each channel."""
    depth = DEPTHS[channels]
    numbers = "one number" if depth == 1 else f"{depth} numbers, in the order {channels}"
    if given is not None and len(given) != depth:
        raise wrong(key, f"it has {len(given)}", numbers)
    if given is None and depth == 1 and len(set(usual)) > 1:
        raise wrong(key, "the preset's is one of colours, and the model takes grey", f"{numbers}, such as [{usual[1]}]")
    return usual[:depth] if given is None else given


def _check_classes(scores: Scores, output: TensorSpec, classes: int | None, labels: Sequence[str]) -> None:
    if scores == "softmax" and classes == 1:
        raise wrong("scores", f"softmax of the one class of {called(output)} is 1 whatever it is", "'sigmoid' or 'none'")
    if labels and classes is not None and len(labels) != classes:
        came = f"it names {len(labels)} class{'es' * (len(labels) > 1)}"
        raise LoadError(f"{LABELS}: {came}; expected {classes}, one a line, as {called(output)} has")
