"""Whether a picture of this size may be taken, and its result be made: by the model, and by the account's plan. Pure."""

from msgspec import Struct

from burnish.engines import catalogue
from burnish.engines.catalogue import Model
from burnish.keys.plan import Plan


def size_refusal(
    model: Model, parameters: Struct, plan: Plan, width: int, height: int
) -> tuple[str, str] | None:
    """Why not, as a status reason and words for the client; None where it may. Asked when the price is set."""
    if refused := catalogue.output_refusal(model, parameters, width, height):
        return refused
    made_width, made_height = model.size(parameters, width, height)
    if _over(width, height, plan.max_input_megapixels):
        return "input_too_large", (
            f"The picture is {_size(width, height)}; your plan takes at most {plan.max_input_megapixels:g} megapixels. Make it "
            "smaller and send it again; a larger plan takes effect at once."
        )
    if _over(made_width, made_height, plan.max_output_megapixels):
        return "output_too_large", (
            f"The result would be {_size(made_width, made_height)}; your plan makes at most {plan.max_output_megapixels:g} "
            "megapixels. Ask for a smaller scale, or send a smaller picture; a larger plan takes effect at once."
        )
    return None


def _over(width: int, height: int, megapixels: float | None) -> bool:
    return megapixels is not None and width * height > megapixels * 1e6


def _size(width: int, height: int) -> str:
    return f"{width} x {height} pixels ({width * height / 1e6:,.1f} megapixels)"
