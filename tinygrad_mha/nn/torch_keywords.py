"""What others' arguments of attention are called here: for errors that teach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def _padding(ours: str, whose: str) -> str:
    return (
        f"say {ours}=tm.nn.masks.from_key_padding_mask({whose}_key_padding_mask), and put two "
        "masks together by tm.nn.masks.both; in a mask of ours, True = may attend"
    )


#: What to say instead of an argument of torch.nn.MultiheadAttention.
INSTEAD = {
    "batch_first": "leave it out: the batch is always first, (N, length, width)",
    "device": "leave it out: everything is on the CPU",
    "dtype": "leave it out: parameters are float32, or float64 after .double()",
    "key_padding_mask": "say mask=tm.nn.masks.from_key_padding_mask(key_padding_mask), or "
    "mask=tm.nn.masks.padding(lengths, S); in a mask of ours, True = may attend",
    "attn_mask": "say mask=tm.nn.masks.from_attn_mask(attn_mask); in a mask of ours, True = may "
    "attend",
    "src_mask": "say mask=tm.nn.masks.from_attn_mask(src_mask); in a mask of ours, True = may "
    "attend",
    "src_key_padding_mask": _padding("mask", "src"),
    "tgt_key_padding_mask": _padding("tgt_mask", "tgt"),
    "memory_key_padding_mask": _padding("memory_mask", "memory"),
    "memory_is_causal": "say memory_mask=tm.nn.masks.causal(T, S)",
    "valid_lens": "say mask=tm.nn.masks.padding(valid_lens, S)",
    "dropout_p": "say it once, when the layer is made: dropout=",
    "average_attn_weights": "leave it out: need_weights=True returns the weights of every head, "
    "(N, h, L, S); their average is weights.mean(1)",
}


def refuse(function: str, unknown: Iterable[str], more: Sequence[Any] = ()) -> None:
    """Raise for arguments that a function does not have; do nothing where there are none.

    Parameters
    ----------
    function : str
        Its name, for the message.
    unknown : iterable of str
        The keywords.
    more : sequence
        What was given by position where arguments go by name.

    Raises
    ------
    TypeError
        There is one. The message says what to say instead of PyTorch's.

    Examples
    --------
    >>> refuse("MultiHeadAttention", ["batch_first"])
    Traceback (most recent call last):
        ...
    TypeError: MultiHeadAttention has no argument 'batch_first'; leave it out: the batch is \
always first, (N, length, width)
    """
    problems = [
        f"{function} has no argument {name!r}" + (f"; {INSTEAD[name]}" if name in INSTEAD else "")
        for name in unknown
    ]
    if more:
        kinds = ", ".join(type(x).__name__ for x in more)
        problems.append(
            f"{function} takes its other arguments by name, and was given {kinds} besides: say for "
            "example dropout=0.1 when it is made, or mask=tm.nn.masks.padding(lengths, S) when it "
            "is called; in a mask, True = may attend"
        )
    if problems:
        raise TypeError("\n".join(problems))
