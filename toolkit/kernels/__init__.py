"""Compiled code: functions over arrays that numba turns into machine code. Only what needs the speed imports them."""
