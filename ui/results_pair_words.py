"""What a comparison of two models has found, in words."""

from collections.abc import Callable
from typing import Any

from polyp_core.evidence.wording import say_p, say_signed
from ui.words import escape


def say_auc_difference(result: dict[str, Any], name: str, shown: str) -> str:
    """Whether one model ranks better than the shown one, in one sentence of Markdown."""
    name, shown = escape(name), escape(shown)
    value, low, high = result["value"], result["low"], result["high"]
    if value is None:
        return f"The AUC of {name} and {shown} cannot be compared. {escape(result['reason'])}"
    if low is None:
        said = (
            f"The AUC of {name} and {shown} is the same." if value == 0
            else f"The AUC of {name} differs from that of {shown} by {say_signed(value, 2)}."
        )  # fmt: skip
        return f"{said} {escape(result['reason'])}"
    if low <= 0 <= high:
        return (
            f"The AUC of {name} and {shown} **does not differ by more than chance** would make: "
            f"{say_signed(value, 2)} for {name} (95 % interval {say_signed(low, 2)} to "
            f"{say_signed(high, 2)}, {say_p(result['p_value'])})."
        )
    better, worse = (name, shown) if value > 0 else (shown, name)
    near, far = sorted((abs(low), abs(high)))
    return (
        f"**{better} ranks better than {worse}**: its AUC is higher by {abs(value):.2f} "
        f"(95 % interval {near:.2f} to {far:.2f}, {say_p(result['p_value'])})."
    )


def say_decisions(result: dict[str, Any], name: str, shown: str, unit: str) -> str:
    """Whether one model is right more often than the shown one, in Markdown."""
    name, shown = escape(name), escape(shown)
    difference, n = result["difference"], result["n"]
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    if value is None:
        return f"Their answers cannot be compared. {escape(difference['reason'])}"
    if result["only_a"] + result["only_b"] == 0:
        return f"{name} and {shown} are right on the same {unit}, all {n} of them counted."
    only = (
        f"On {result['only_b']} of {n} {unit} {name} alone is right, on {result['only_a']} "
        f"{shown} alone"
    )
    if low is None:
        return f"{only}. {escape(difference['reason'])}"
    if low <= 0 <= high or result["p_value"] >= 0.05:
        return (
            f"{only}: **no more than chance** would make. Accuracy {say_points(value)} percentage "
            f"points for {name} (95 % interval {say_points(low)} to {say_points(high)}, "
            f"{say_p(result['p_value'])})."
        )
    better = name if value > 0 else shown
    near, far = sorted((abs(low), abs(high)))
    return (
        f"{only}: **{better} is right more often**, by {say_points(abs(value))[1:]} percentage "
        f"points (95 % interval {say_points(near)[1:]} to {say_points(far)[1:]}, "
        f"{say_p(result['p_value'])})."
    )


def say_points(share: float) -> str:
    """A difference of shares in percentage points: "+4", "−12", or "+0.3" below one."""
    points = 100 * share
    return say_signed(points, 0 if abs(points) >= 1 or points == 0 else 1)


def say_interval(metric: dict[str, Any], say: Callable[[float], str]) -> str:
    """Such as "+0.10 (+0.03 to +0.17)"."""
    if metric["value"] is None:
        return "not defined"
    if metric["low"] is None:
        return say(metric["value"])
    return f"{say(metric['value'])} ({say(metric['low'])} to {say(metric['high'])})"


def say_plain_p(value: float | None) -> str:
    """A p value for a table: "0.03" or "< 0.001"."""
    return say_p(value).removeprefix("p ").removeprefix("= ")
