# SPDX-License-Identifier: Apache-2.0
"""Small graphs that real models are made of, each with a history of bugs (bug classes K1, K2, K8, K12, K17).

A motif adds a few ops to a scope and returns the value of interest. Random op sequences rarely build these by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fuzz.ops.core import FLOATS, NUMBERS
from fuzz.ops.scope import Scope, Value

# Flat extents at which index arithmetic has failed: significands of 8 and 11 bits, 16-bit integers, f32.
# The last is 16 bits on each of two shards.
FLAT_INDEX_BOUNDARIES = (128, 256, 512, 2048, 4096, 65536, 131072, 131072)
# Rows and columns of a table with 49184 elements past 2^24, where f32 no longer holds odd numbers.
HUGE = (4104, 4100)
F32_BOUNDARY = 1 << 24
# A huge table of up to 4 bytes an element, its only large operand, takes a quarter of what a case may at most.
HUGE_SHARE = 4
# Rows of 2 to 160 elements: 160 is the expert count of the model this project started from, 1 and 3 are odd strides.
ROW_LENGTHS = (2, 3, 8, 17, 32, 33, 64, 100, 160)
# Token ids of Gemma 3: most need more than 16 bits, those of half the table too.
VOCABULARY = 262144
TOKENS = (8, 4, 16, 64)
EXPERTS = (8, 16, 32, 160)


@dataclass(frozen=True, slots=True)
class Motif:
    name: str
    weight: int  # relative, among motifs
    ops: frozenset[str]  # what it is made of, for --ops
    build: Callable[[Scope], Value]


def flat_extents(scope: Scope) -> tuple[int, int]:
    """(rows, cols) with rows * cols just past a boundary; rows divide by 8 so that they can be sharded."""
    boundary = scope.choose(FLAT_INDEX_BOUNDARIES)
    cols = scope.choose(ROW_LENGTHS)
    rows = boundary // cols // 8 * 8 + 8
    return rows, cols


def router_scatter(scope: Scope) -> Value:
    """group_mask.scatter_(1, group_idx, 1) on tokens x experts, then the masked scores."""
    scores, chosen, _ = _router_inputs(scope)
    base = scope.new_data(scores.shape, scores.dtype)
    mask = scope.apply("scatter_value", base, chosen, dim=1, value=1)
    return scope.apply("mul", mask, scores) if scope.chance(50) else mask


def router_gather(scope: Scope) -> Value:
    """router_logits.gather(1, topk_indices): the flat index is token * experts + expert."""
    scores, chosen, _ = _router_inputs(scope)
    return scope.apply("gather", scores, chosen, dim=1)


def router_mask_one_hot(scope: Scope) -> Value:
    """The scatter's rewrite: one_hot over experts, any over the choices."""
    scores, chosen, experts = _router_inputs(scope)
    hot = scope.apply("one_hot", chosen, classes=experts, low=0, high=2)
    mask = scope.apply("amax", hot, dim=1, keepdim=False)
    return scope.apply("mul", scope.apply("cast", mask, dtype=scores.dtype), scores)


def router_gather_one_hot(scope: Scope) -> Value:
    """The gather's rewrite: one_hot weights contracted with the scores."""
    scores, chosen, experts = _router_inputs(scope)
    hot = scope.apply("one_hot", chosen, classes=experts, low=0, high=2)
    weights = scope.apply("cast", hot, dtype=scores.dtype)
    column = scope.apply("unsqueeze", scores, dim=2)
    return scope.apply("squeeze", scope.apply("matmul", weights, column), dim=2)


def _router_inputs(scope: Scope) -> tuple[Value, Value, int]:
    """Scores [tokens, experts], chosen experts [tokens, k] (from topk or fed), number of experts."""
    tokens, experts = scope.choose(TOKENS), scope.choose(EXPERTS)
    k = scope.choose((2, 4, 1, 8))
    dtype = scope.choose(("f32", "bf16")) if "bf16" in scope.dtypes else "f32"
    scores = scope.new_data((tokens, experts), dtype)
    if scope.chance(50):
        logits = scope.new_ranked((tokens, experts), "f32", 1)
        return scores, scope.apply("topk_indices", logits, k=k, dim=1, largest=True, low=0, high=experts), experts
    return scores, scope.new_unique_index((tokens, k), experts, dim=1), experts


def embedding_lookup(scope: Scope) -> Value:
    """A table of rows x cols read at positions near a boundary of the flat index, or the table of a vocabulary."""
    vocabulary = scope.max_elements >= 2 * VOCABULARY and scope.chance(40)
    rows, cols = (VOCABULARY, 2) if vocabulary else flat_extents(scope)
    table = scope.new_data((rows, cols), scope.choose(_table_dtypes(scope)))
    ids = scope.new_index((scope.choose((4, 2, 8)), scope.choose((4, 8, 16))), rows)
    return scope.apply("embedding", ids, table)


def flat_take(scope: Scope) -> Value:
    """x.take(row * cols + col) with arange-made rows: index arithmetic as flattening passes write it."""
    rows, cols = flat_extents(scope)
    table = scope.new_data((rows, cols), scope.choose(_table_dtypes(scope)))
    # The last rows lie past the boundary, the others hardly.
    first = rows - 8 if scope.chance(60) else scope.integer(0, rows - 8)
    picked = scope.apply("arange", start=first, end=first + 8, step=1, dtype="i64", low=first, high=first + 8)
    base = scope.apply("mul_scalar", picked, value=cols, low=first * cols, high=(first + 7) * cols + 1)
    column = scope.new_index((8,), cols)
    flat = scope.apply("add", base, column, low=first * cols, high=(first + 8) * cols)
    return scope.apply("take", table, flat)


def flat_index_past_f32(scope: Scope) -> Value:
    """A table of more than 2^24 elements, read at its end."""
    rows, cols = HUGE
    dtypes = [dtype for dtype in ("i32", "f32", "bf16") if dtype in scope.dtypes]  # cheapest to make first
    if not dtypes or scope.max_elements * HUGE_SHARE < rows * cols:
        return flat_take(scope)
    table = scope.new_data(HUGE, dtypes[0])
    if scope.chance(20):
        return scope.apply("take", table, scope.new_index((8,), rows * cols, kinds=("random",), low=F32_BOUNDARY))
    row = scope.new_index((8,), rows, kinds=("random", "monotone"), low=F32_BOUNDARY // cols + 1)
    return scope.apply("index2", table, row, scope.new_index((8,), cols))


def batched_rows(scope: Scope) -> Value:
    """x[arange(batch)[:, None], positions]: one row per user, the form of per-user logits."""
    batch, length = scope.choose((8, 4, 16)), scope.choose((8, 32, 64, 512))
    shape = (batch, length, scope.choose((4, 8))) if scope.chance(50) else (batch, length)
    data = scope.new_data(shape, scope.choose(_table_dtypes(scope)))
    count = scope.choose((2, 4, 8))
    users = scope.apply("arange", start=0, end=batch, step=1, dtype="i64", low=0, high=batch)
    column = scope.apply("expand", scope.apply("unsqueeze", users, dim=1), shape=(batch, count))
    positions = scope.new_index((batch, count), length)
    return scope.apply("index2", data, column, positions)


def batched_write(scope: Scope) -> Value:
    """x[arange(batch)[:, None], positions] = rows."""
    batch, length = scope.choose((8, 4, 16)), scope.choose((8, 32, 64))
    data = scope.new_data((batch, length), scope.choose(_table_dtypes(scope)))
    count = scope.choose((2, 4, 8))
    users = scope.apply("arange", start=0, end=batch, step=1, dtype="i64", low=0, high=batch)
    column = scope.apply("expand", scope.apply("unsqueeze", users, dim=1), shape=(batch, count))
    positions = scope.new_unique_index((batch, count), length, dim=1)
    rows = scope.like((batch, count), data.dtype)
    return scope.apply("index_put_accumulate" if scope.chance(30) else "index_put", data, column, positions, rows)


def cache_write(scope: Scope) -> Value:
    """A KV cache [batch, heads, length, width] written at given positions; the cache is not fresh."""
    batch, heads, length, width = (scope.choose(sizes) for sizes in ((2, 4, 8), (2, 4), (8, 16, 32, 33), (4, 8)))
    dtype = scope.choose(_table_dtypes(scope))
    cache = scope.new_data((batch, heads, length, width), dtype)
    count = scope.choose((1, 2, 4))
    fresh = scope.new_data((batch, heads, count, width), dtype)
    if scope.chance(60):
        return scope.apply("index_copy", cache, scope.new_unique_index((count,), length), fresh, dim=2)
    start = scope.integer(0, length - count)
    return scope.apply("slice_scatter", cache, fresh, dim=2, start=start, end=start + count, step=1)


def positions_from_cumsum(scope: Scope) -> Value:
    """position_ids = attention_mask.cumsum(-1) - 1, clamped, then a lookup: global state along the sequence."""
    batch, length = scope.choose((2, 4, 8)), scope.choose((8, 16, 32))
    mask = scope.apply("cast", scope.new_data((batch, length), "bool"), dtype="i64", low=0, high=2)
    counted = scope.apply("cumsum", mask, dim=scope.choose((1, 1, 0)), low=0, high=max(batch, length) + 1)
    shifted = scope.apply("add_scalar", counted, value=-1, low=-1, high=max(batch, length))
    positions = scope.apply("clamp", shifted, min=0, max=length - 1, low=0, high=length)
    if scope.chance(50):
        return positions
    table = scope.new_data((length, scope.choose((4, 8))), scope.choose(_table_dtypes(scope)))
    return scope.apply("embedding", positions, table)


def chunked(scope: Scope) -> Value:
    """One chunk of a dim that is likely sharded: static starts must be made local."""
    data = scope.data(min_rank=1, max_rank=4)
    dim = scope.choose((data.rank - 1, scope.integer(0, data.rank - 1)))
    size = data.shape[dim]
    pieces = scope.choose([n for n in (2, 4, 3, 8) if n <= size] or [1])
    piece = scope.integer(0, pieces - 1)
    width = size // pieces
    return scope.apply("slice", data, dim=dim, start=piece * width, end=(piece + 1) * width, step=1)


def argmax_then_gather(scope: Scope) -> Value:
    """The sampler: argmax over a dim that may be sharded, then a read at that position."""
    shape = (scope.choose((4, 8)), scope.choose((1025, 16, 600)))
    logits = scope.new_ranked(shape, "f32", 1)
    best = scope.apply("argmax", logits, dim=1, keepdim=True, low=0, high=shape[1])
    if scope.chance(40):
        return best
    return scope.apply("gather", scope.new_data(shape, scope.choose(_table_dtypes(scope))), best, dim=1)


def best_of_vocabulary(scope: Scope) -> Value:
    """The k best of logits whose vocabulary is often sharded: positions must be global."""
    shape = (scope.choose((4, 8)), scope.choose((64, 16, 256)))
    logits = scope.new_ranked(shape, "f32", 1)
    k = scope.choose((4, 2, 8))
    if scope.chance(40):
        return scope.apply("sort_indices", logits, dim=1, descending=scope.chance(70), low=0, high=shape[1])
    return scope.apply("topk_indices", logits, k=k, dim=1, largest=True, low=0, high=shape[1])


def hidden_reduction(scope: Scope) -> Value:
    """A sum, mean or extreme over the hidden dim of activations, as norms, losses and softmax have; often sharded."""
    shape = (scope.choose((4, 8, 16)), scope.choose((24, 8, 48, 100, 64)))
    op = scope.choose(("sum", "amax", "mean", "amin"))
    dtypes = [dtype for dtype in scope.dtypes if dtype in (FLOATS if op == "mean" else NUMBERS)] or ["f32"]
    dtype = scope.choose(dtypes)
    if op in ("amax", "amin") and dtype in FLOATS and scope.chance(80):
        data = scope.new_ranked(shape, dtype, 1, negative=op == "amax")
    else:
        data = scope.new_data(shape, dtype, small=scope.chance(30))
    return scope.apply(op, data, dim=scope.choose((1, 1, 0)), keepdim=scope.chance(50))


def fused_heads(scope: Scope) -> Value:
    """Queries, keys and values from one projection: x.reshape(b, s, 3, h, d).permute(2, 0, 3, 1, 4)[0]."""
    batch, length, heads, width = (scope.choose(sizes) for sizes in ((4, 2, 8), (8, 4, 16), (4, 2, 8), (8, 4)))
    data = scope.new_data((batch, length, 3 * heads * width), scope.choose(_table_dtypes(scope)))
    split = scope.apply("reshape", data, shape=(batch, length, 3, heads, width))
    moved = scope.apply("permute", split, dims=(2, 0, 3, 1, 4))
    return moved if scope.chance(30) else scope.apply("select", moved, dim=0, index=scope.integer(0, 2))


def causal_mask(scope: Scope) -> Value:
    """Rows against columns, both from arange: each shard must know where it lies."""
    size = scope.choose((8, 16, 32))
    columns = scope.apply("arange", start=0, end=size, step=1, dtype="i64", low=0, high=size)
    rows = scope.apply(
        "unsqueeze", scope.apply("arange", start=0, end=size, step=1, dtype="i64", low=0, high=size), dim=1
    )
    wide_rows = scope.apply("expand", rows, shape=(size, size))
    allowed = scope.apply("ge", wide_rows, scope.apply("expand", columns, shape=(size, size)))
    scores = scope.new_data((size, size), scope.choose(_table_dtypes(scope)))
    return scope.apply("masked_fill", scores, allowed, value=-1)


def accumulate_by_expert(scope: Scope) -> Value:
    """Token rows added into per-expert sums with repeats: the combine step of a mixture of experts."""
    experts, tokens, width = scope.choose((8, 4, 16)), scope.choose((8, 16, 32)), scope.choose((4, 8))
    dtype = scope.choose([d for d in scope.dtypes if d not in ("bool", "bf16")] or ["f32"])
    base = scope.new_data((experts, width), dtype, small=True)
    rows = scope.new_data((tokens, width), dtype, small=True)
    if scope.chance(50):
        each = scope.new_index((tokens, width), experts, kinds=("random", "duplicates"))
        return scope.apply("scatter_add", base, each, rows, dim=0)
    chosen = scope.new_index((tokens,), experts, kinds=("random", "duplicates"))
    return scope.apply("index_add", base, chosen, rows, dim=0)


def _table_dtypes(scope: Scope) -> list[str]:
    return [dtype for dtype in scope.dtypes if dtype != "bool"] or ["f32"]


MOTIFS = (
    Motif("router_scatter", 5, frozenset({"scatter_value"}), router_scatter),
    Motif("router_gather", 5, frozenset({"gather"}), router_gather),
    Motif("router_mask_one_hot", 3, frozenset({"one_hot"}), router_mask_one_hot),
    Motif("router_gather_one_hot", 3, frozenset({"one_hot"}), router_gather_one_hot),
    Motif("embedding_lookup", 10, frozenset({"embedding"}), embedding_lookup),
    Motif("flat_take", 9, frozenset({"take"}), flat_take),
    Motif("flat_index_past_f32", 9, frozenset({"take", "index2"}), flat_index_past_f32),
    Motif("batched_rows", 4, frozenset({"index2"}), batched_rows),
    Motif("batched_write", 4, frozenset({"index_put"}), batched_write),
    Motif("cache_write", 4, frozenset({"index_copy", "slice_scatter"}), cache_write),
    Motif("positions_from_cumsum", 3, frozenset({"cumsum"}), positions_from_cumsum),
    Motif("chunked", 11, frozenset({"slice"}), chunked),
    Motif("argmax_then_gather", 10, frozenset({"argmax"}), argmax_then_gather),
    Motif("best_of_vocabulary", 5, frozenset({"topk_indices", "sort_indices"}), best_of_vocabulary),
    Motif("hidden_reduction", 9, frozenset({"sum", "amax", "mean", "amin"}), hidden_reduction),
    Motif("fused_heads", 6, frozenset({"permute"}), fused_heads),
    Motif("causal_mask", 2, frozenset({"arange"}), causal_mask),
    Motif("accumulate_by_expert", 8, frozenset({"index_add", "scatter_add"}), accumulate_by_expert),
)
