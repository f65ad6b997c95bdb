"""A token from a token endpoint, over the same trust as the upstream: its bundle, its client certificate, its limits.

The client's credentials travel in the Authorization header, which every server has to take (RFC 6749 section 2.3.1);
one that refuses it is asked once more with them in the body. No redirect is followed: they would follow it too.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h11

from reconciler.core import oauth, refusals
from reconciler.core.diagnosis import diagnose
from reconciler.core.observation import Diagnosis
from reconciler.probes.channel import Address, Channel
from reconciler.probes.dialer import Dialer
from reconciler.probes.wire import WireError

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.core.oauth import Token, TokenRequest
    from reconciler.core.observation import ProbeTarget
    from reconciler.core.routes import Route

_FORM = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}


def fetch_token(request: TokenRequest, target: ProbeTarget, route: Route, now: datetime) -> Token | Diagnosis:
    """Return a token, or why there is none. `target` is whom the token is for: its trust and its timeout hold here."""
    try:
        address = Address.parse(request.url)
    except ValueError:
        return oauth.unusable_url(request)
    if address.scheme != "https":
        return oauth.unusable_url(request)
    dialer = Dialer(replace(target, route=route), address.host, address.port, secure=True)
    with closing(dialer):
        found = _fetch(request, Channel(dialer, address), dialer, now)
    return oauth.unavailable(request, found) if isinstance(found, Diagnosis) else oauth.read_answer(request, *found)


def _fetch(request: TokenRequest, channel: Channel, dialer: Dialer, now: datetime) -> tuple[int, bytes] | Diagnosis:
    try:
        dialer.open(now)
        with closing(channel):
            answer = _ask(channel, {**_FORM, "authorization": request.authorization()}, request.form())
            if oauth.refuses_header(*answer):
                answer = _ask(channel, _FORM, request.form_with_credentials())
    except WireError as error:
        return diagnose(dialer.late_refusal() or error.attempt, now)
    except h11.RemoteProtocolError:
        # Not quoted: what answers there may repeat the credentials.
        return refusals.not_http("POST", "it does not speak HTTP")
    except h11.LocalProtocolError:
        return refusals.unusable_headers()
    return answer


def _ask(channel: Channel, headers: dict[str, Any], content: bytes) -> tuple[int, bytes]:
    """Return status and body; what is over the limit is cut off, and will not be JSON."""
    with channel.request("POST", channel.address.path, headers, content) as response:
        body = b""
        for chunk in response.chunks:
            body += chunk
            if len(body) > oauth.MAX_ANSWER:
                break
        return response.status, body[: oauth.MAX_ANSWER]
