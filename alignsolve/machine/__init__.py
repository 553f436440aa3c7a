"""What the machine gives. Importing it makes a process with little memory live within it."""

from alignsolve.machine.memory import live_within_limits

live_within_limits()
