"""Old name of `workers.emulator`; removed in the next version (docs/upgrades.md)."""
