"""The context of a request that lies elsewhere: a commit of a git repository, or an archive."""

from __future__ import annotations

import shutil

from strata_builder import contract
from strata_builder.context import archive, download, git, gitprogram
from strata_builder.context.credentials import Credentials
from strata_builder.engine import buildargs
from strata_builder.pod import settings
from strata_builder.pod.paths import Paths


def fetch(request: contract.BuildRequest, paths: Paths) -> git.Checkout:
    """Into the folder of the context. Raises SourceNotFound, SourceAuthFailed, ReferenceNotFound, SourceUnavailable."""
    source, limit = request.source, request.context_limit_bytes
    credentials = Credentials.load(paths.at(contract.SOURCE_CREDENTIALS))
    ca, whole = settings.ca_bundle(paths), paths.inputs / "source"
    if source.git is not None:
        how = gitprogram.Settings(ca=ca, scratch=paths.scratch)
        keep = buildargs.keep_git_dir(dict(request.args))
        done = git.fetch(source.git, whole, credentials, limit=limit, keep_git_dir=keep, settings=how)
    else:
        assert source.archive is not None
        done = archive.fetch(source.archive, whole, credentials, limit=limit, client=download.Client(ca))
    done.folder.rename(paths.context)
    shutil.rmtree(whole, ignore_errors=True)  # what lies beside the sub-folder
    return done
