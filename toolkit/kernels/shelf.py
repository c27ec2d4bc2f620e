"""
`from toolkit.kernels.disk_cache import kernel_folder`, for programs outside of this project that look after a cache of kernels.

The module is `toolkit.kernels.disk_cache`.
"""

from toolkit.kernels.disk_cache import kernel_folder

__all__ = ["kernel_folder"]
