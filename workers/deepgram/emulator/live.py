"""Old name of `workers.emulator.engines.live`."""

from workers.emulator.engines.live import cells

__all__ = ["cells"]
