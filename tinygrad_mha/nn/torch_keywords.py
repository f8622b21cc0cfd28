"""What PyTorch's keywords of attention are called here: for errors that teach."""

from __future__ import annotations

from collections.abc import Iterable

#: What to say instead of an argument of torch.nn.MultiheadAttention.
INSTEAD = {
    "batch_first": "leave it out: the batch is always first, (N, length, width)",
    "device": "leave it out: everything is on the CPU",
    "dtype": "leave it out: parameters are float32, or float64 after .double()",
    "key_padding_mask": "say mask=tm.nn.masks.from_key_padding_mask(key_padding_mask), or "
    "mask=tm.nn.masks.padding(lengths, S); in a mask of ours, True = may attend",
    "attn_mask": "say mask=tm.nn.masks.from_attn_mask(attn_mask); in a mask of ours, True = may "
    "attend",
    "average_attn_weights": "leave it out: need_weights=True returns the weights of every head, "
    "(N, h, L, S); their average is weights.mean(1)",
}


def refuse(function: str, unknown: Iterable[str]) -> None:
    """Raise for keywords that a function does not have; do nothing where there are none.

    Parameters
    ----------
    function : str
        Its name, for the message.
    unknown : iterable of str
        The keywords.

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
    if problems:
        raise TypeError("\n".join(problems))
