"""Step: whether the indexes of a set take its credentials, which runs need to install its lock.

They are tried now and then, once for all sets that share them. Until something is known, what was
reported before holds.
"""

from urllib.parse import urlsplit

from flowdeps.api.helperconfig import HELPERS
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import listed
from flowdeps.gather.credentials import LOGIN, NETRC_FILE
from flowdeps.gather.logins import Login, logins_of
from flowdeps.gather.sources import Present, SecretName
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.scheduling.tracking import Failure

_SHOWN = 3
_UNKNOWN = Outcome.waits(Reason.PENDING, "the credentials are being tried")


async def try_credentials(context: Context, progress: Progress) -> Outcome | None:
    """Have credentials tried; None where there are none to try."""
    key, index, access = progress.entry.key, progress.index, progress.access
    if progress.gathered.reason.is_under_way:
        return _UNKNOWN
    logins: list[Login] = []
    if index and access and progress.record and context.config.credentials_interval:
        logins = logins_of(index, access)
        if not all(map(context.logins.tracks, logins)):
            lock = progress.text or await progress.served_text(context.cluster)
            if lock is None:
                return _UNKNOWN
            logins = logins_of(index, access, [pin.name for pin in lock.pins])
            logins = [one for one in logins if one.package or context.logins.tracks(one)]
    context.logins.need(key, frozenset(logins))
    if not logins:
        return None
    for one in logins:
        status = context.logins.get(one)
        if status is None or isinstance(status, Failure):
            return _UNKNOWN
        if one.is_refusal(status):
            text = _refusal(context, progress, one, status)
            return Outcome.failed(Reason.INDEX_UNAUTHORIZED, text)
    urls = listed([one.url for one in logins], most=_SHOWN)
    return Outcome.done(Reason.CREDENTIALS_ACCEPTED, f"taken by {urls}")


def _refusal(context: Context, progress: Progress, login: Login, status: str) -> str:
    entry = progress.entry
    name = entry.spec.index.credentials if entry.spec else None
    says = f"{login.url} answers {status}, so runs that install now fail"
    if not name:
        return (
            f"{HELPERS}: {says}: the token is for another index, or may not read this one; see what"
            " rights the operator's service account has in the cloud"
        )
    secret = SecretName(entry.key.namespace, name or "")
    content = context.sources.get(secret)
    data = content.content if isinstance(content, Present) else {}
    first = progress.index.urls[:1] if progress.index else ()
    ours = LOGIN[0] in data and any(_host(one) == _host(login.url) for one in first)
    keys = " and ".join(f'"{one}"' for one in (LOGIN if ours else (NETRC_FILE,)))
    return (
        f"spec.index.credentialsSecretRef: {says}: the credentials of {secret} are wrong or have"
        f" expired; renew {keys} in it"
    )


def _host(url: str) -> str | None:
    return urlsplit(url).hostname
