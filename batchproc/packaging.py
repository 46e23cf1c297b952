"""Read when the package is installed from source, by setuptools alone: leaves out what has no wheel for this Python.

Markers in pyproject.toml name platforms and versions. No marker knows musl from glibc, or a build of Python without the
GIL: there pip would try to build the resampler from its source, and fail where there is no Rust.
"""

import platform
import sys
import sysconfig

from setuptools.command.egg_info import egg_info

RESAMPLER = "cykooz-resizer"


def has_wheel() -> bool:
    """Whether the resampler has a wheel for this Python, as far as markers do not say."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    return sys.platform != "linux" or platform.libc_ver()[0] == "glibc"


class Metadata(egg_info):
    """Writes the metadata, without the resampler where it cannot be had."""

    def finalize_options(self) -> None:
        """See `egg_info`."""
        if not has_wheel():
            for holder in (self.distribution, self.distribution.metadata):
                wanted = getattr(holder, "install_requires", None) or []
                holder.install_requires = [one for one in wanted if not one.startswith(RESAMPLER)]
        super().finalize_options()
