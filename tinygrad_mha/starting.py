"""Ctrl-C while the command is being imported, before there is anybody to catch it.

To be imported before all else of the package; of another program it changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: What a shell reports of a command that Ctrl-C ended.
INTERRUPTED = 130


def _begin() -> None:
    """Where the package is imported to be the command, let Ctrl-C end that in one line.

    An exception would not do: nobody catches it yet, and what is being imported may turn it
    into an error of its own.
    """
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def over() -> None:
    """From here on Ctrl-C is an exception again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_command() -> bool:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    if name == "-m":  # so it is called until the module is found, which needs the package
        return sys.orig_argv[1:][sys.orig_argv[1:].index("-m") + 1 :][:1] == [__package__]
    return os.path.splitext(name)[0].removesuffix("-script") == "tinygrad-mha"


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\ntinygrad-mha: interrupted\n")
    os._exit(INTERRUPTED)  # nothing has been begun that would have to be ended


_begin()
