"""Signals, damage, full disks and limits, many times over: `python -m tests.soak`, `make soak`.

`child` runs programs in processes of their own and says how far they are; `programs` are these;
`signals`, `damage` and `faults` do harm to them and look at what is left; `tally` counts.
"""
