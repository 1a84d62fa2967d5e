"""What can be wrong with an image or with its name. Pure.

::

    BuildError
     +- InvalidSpec
     |   +- ReferenceInvalid      a name that is no image reference
     |   +- PlatformInvalid
     +- ImageInvalid              a manifest, config, index or archive that cannot be what it claims to be
     |   +- PlatformMissing       the index has no image for the wanted platform
     +- DigestMismatch            bytes that are not those that were asked for
"""

from __future__ import annotations

from strata_builder import errors


class ReferenceInvalid(errors.InvalidSpec):
    pass


class PlatformInvalid(errors.InvalidSpec):
    pass


class ImageInvalid(errors.BuildError):
    reason = "InvalidSpec"


class PlatformMissing(ImageInvalid):
    reason = "BaseImageNotFound"


class DigestMismatch(errors.BuildError):
    """Wrong digest or wrong size. Retried: the bytes at rest may well be right."""

    reason = "InfrastructureFailed"
    retryable = True
