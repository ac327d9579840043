"""Proposition 1 in a figure and in tables: closed forms, draws, random teachers."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fdnf.evaluation.pictures import plotting
from fdnf.evaluation.tables import markup


def figure(results: Mapping[str, Any], path: pathlib.Path) -> pathlib.Path:
    """Closed forms against draws, and random teachers of growing T.

    Args:
      results: of the study.
      path: where to write.
    """
    found = results["proposition_1"]
    cases = found["cases"][::-1]
    with plotting.saved(path, 11.0, 4.6) as canvas:
        left, right = canvas.subplots(1, 2, width_ratios=(1.15, 1))
        at = np.arange(len(cases))
        exact, drawn, error = (
            np.array([case[k] for case in cases]) for k in ("exact", "found", "error")
        )
        left.plot(exact, at, "D", ms=9, mfc="none", color="#222222", label="exact")
        color = plotting.COLORS["student"]
        left.errorbar(
            *(drawn, at),
            xerr=2 * error,
            fmt="o",
            ms=2.5,
            color=color,
            capsize=3,
            label=f"{cases[0]['rows']:,} draws, ± 2 standard errors",
        )
        left.set_yticks(at, [case["name"] for case in cases], fontsize=8)
        left.set_xlim(-0.04, 1.04)
        for y, case in zip(at, cases, strict=True):
            if case["error"] > 1e-9:
                off = (case["found"] - case["exact"]) / case["error"]
                left.text(1.07, y, f"{off:+.1f} se", va="center", fontsize=8)
        left.set_xlabel("P[xᵀ g > 0]")
        left.set_title("Closed forms and draws")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=0)

        dims = found["dimensions"]
        ends = {}
        names = (("R", "teacher"), ("R/sqrt(T)", "student"))
        for shift, (name, color) in zip((0.97, 1.03), names, strict=True):
            groups = found["over_dimensions"][name]
            color = plotting.COLORS[color]
            for dim, group in zip(dims, groups, strict=True):
                right.plot(
                    [dim * shift] * len(group), group, ".", color=color, alpha=0.35
                )
            median = [np.median(group) for group in groups]
            right.plot(dims, median, color=color, lw=1.8)
            variance = {"R": "1", "R/sqrt(T)": "1/T"}[name]
            ends[rf"$R_{{ij}} \sim N(0, {variance})$"] = (float(median[-1]), color)
        right.set_xscale("log", base=2)
        right.set_xticks(dims, [str(dim) for dim in dims])
        right.set_xlim(dims[0] / 1.15, dims[-1] * 1.15)
        right.set_ylim(-0.03, 1.03)
        right.set_xlabel("T")
        right.set_ylabel("P[xᵀ g > 0] of a student N(0, I), exact")
        right.set_title("Random teachers and their median")
        plotting.label_ends(canvas, right, ends)
    return path


def tables(results: Mapping[str, Any]) -> tuple[markup.Table, markup.Table]:
    """Closed forms of the expansion probability against draws; random teachers."""
    return _closed_forms(results), _dimensions(results)


def _closed_forms(results: Mapping[str, Any]) -> markup.Table:
    """Closed forms of the expansion probability against draws."""
    rows = []
    for case in results["proposition_1"]["cases"]:
        exact, found, error = case["exact"], case["found"], case["error"]
        off = f"{(found - exact) / error:+.1f}" if error > 1e-9 else "0"
        if error <= 1e-9 and found != exact:
            off = "wrong"
        rows.append((case["name"], f"{exact:.4f}", f"{found:.4f}", f"{error:.4f}", off))
    count = results["proposition_1"]["cases"][0]["rows"]
    return markup.Table(
        "",
        ("eigenvalues", "closed form", "draws", "standard error", "off by (errors)"),
        tuple(rows),
        (
            f"P[x^T g_x > 0] for a student N(0, I); {count:,} draws through "
            "`losses.expansion.expansion_signal`.",
        ),
    )


def _dimensions(results: Mapping[str, Any]) -> markup.Table:
    """The probability before training, for random teachers of growing T."""
    found = results["proposition_1"]
    groups = found["over_dimensions"]
    rows = tuple(
        (
            str(dim),
            *(_quartiles(groups[name][i]) for name in groups),
        )
        for i, dim in enumerate(found["dimensions"])
    )
    count = len(next(iter(groups.values()))[0])
    return markup.Table(
        "",
        ("T", "R_ij ~ N(0, 1)", "R_ij ~ N(0, 1/T)"),
        rows,
        (
            f"P[x^T g_x > 0] for a student N(0, I) about the teacher's mode, exact; "
            f"median and quartiles over {count} teachers. 0 is below 1e-12.",
        ),
    )


def _quartiles(values: list[float]) -> str:
    # Beyond that the integral has no digits left.
    low, middle, high = (
        f"{v:.2g}" if v >= 1e-12 else "0"
        for v in np.quantile(values, (0.25, 0.5, 0.75))
    )
    return f"{middle} ({low} to {high})"
