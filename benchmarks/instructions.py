"""What a library's instructions are, and how few cycles a processor could take for them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KINDS", "LIMITS", "Instruction", "disassemble", "fewest_cycles", "kinds", "limits_of"]

# The last: divisions and roots in single precision, which take a third and less, and set no limit here.
KINDS = ("instructions", "arithmetic", "loads", "stores", "divisions", "roots", "in single")

# Of each kind a cycle at most, on vectors of 512 bits, by who made the processor: Zen 5 and Golden Cove.
LIMITS = {
    "AuthenticAMD": {"instructions": 8.0, "arithmetic": 4.0, "loads": 2.0, "stores": 1.0},
    "GenuineIntel": {"instructions": 6.0, "arithmetic": 2.0, "loads": 2.0, "stores": 1.0},
}


@dataclass(frozen=True)
class Instruction:
    """One instruction of a disassembly in AT&T's order: sources first, destination last."""

    function: str
    name: str
    operands: tuple[str, ...]


def disassemble(library: Path) -> dict[int, Instruction]:
    """The instructions of a library by their offset, from ``objdump``."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(library)], capture_output=True, text=True, check=True
    ).stdout
    return parse(listing)


def parse(listing: str) -> dict[int, Instruction]:
    """The same from the text of a listing."""
    code: dict[int, Instruction] = {}
    function = ""
    for line in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:", line):
            function = head[1]
        elif found := re.match(
            r"\s+([0-9a-f]+):\s+(?:(?:lock|rep\w*|bnd|data16|cs|notrack) )*(\w+)\s*(.*)", line
        ):
            text = re.sub(r"\s+[#<].*", "", found[3])
            # A comma inside brackets is part of an address.
            operands = tuple(re.findall(r"(?:[^,(]|\([^)]*\))+", text))
            code[int(found[1], 16)] = Instruction(function, found[2], operands)
    return code


def kinds(one: Instruction) -> list[str]:
    """What an instruction counts as: itself, and vector arithmetic, a load, a store, a division, a root."""
    found = ["instructions"]
    memory = [i for i, operand in enumerate(one.operands) if "(" in operand or re.match(r"0x|\*0x", operand)]
    addresses = one.name.startswith(("lea", "nop", "prefetch", "j", "call"))
    last = len(one.operands) - 1
    compares = one.name.startswith(("cmp", "test", "comis", "ucomis", "vcomis", "vucomis"))
    if memory and not addresses:
        found.append("stores" if memory[-1] == last and last > 0 and not compares else "loads")
    vector = any(re.search(r"%[xyz]mm|%k[0-7]", operand) for operand in one.operands)
    moves = re.match(r"v?mov(?!msk)|kmov", one.name)
    if vector and not moves:
        found.append("arithmetic")
        if re.match(r"v?div[ps]d", one.name):
            found.append("divisions")
        elif re.match(r"v?sqrt[ps]d", one.name):
            found.append("roots")
        elif re.match(r"v?(div|sqrt)[ps]s", one.name):
            found.append("in single")
    return found


def limits_of(maker: str) -> dict[str, float]:
    """The limits of a maker's processors; of those that are not known here, the widest."""
    return LIMITS.get(maker, LIMITS["AuthenticAMD"])


def fewest_cycles(
    executed: Mapping[str, float], division: float, root: float, limits: Mapping[str, float]
) -> tuple[float, str]:
    """The least number of cycles for these counts, and what sets it."""
    cycles = {kind: executed.get(kind, 0.0) / limit for kind, limit in limits.items()}
    cycles["divider"] = executed.get("divisions", 0.0) * division + executed.get("roots", 0.0) * root
    limit = max(cycles, key=lambda kind: cycles[kind])
    return cycles[limit], limit if cycles[limit] > 0 else ""
