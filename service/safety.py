"""What the service refuses to start with: each a sentence that names the setting and what would be right."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from service.hosts import origin_of
from service.keys import Keys
from service.settings import Settings
from service.tokens import is_private

SHORTEST_SECRET = 32


class UnsafeSettings(ValueError):
    """The service would not be safe with these settings."""


def refuse_unsafe(settings: Settings, host: str) -> None:
    """Look at the settings, and the address to listen on.

    Raises:
        UnsafeSettings: with every reason there is.
    """
    found = [*_about_the_network(settings, host), *_about_names(settings), *_about_tokens(settings)]
    secret = settings.session_secret.get_secret_value()
    if 0 < len(secret) < SHORTEST_SECRET:
        found.append(
            f"ORPR_SESSION_SECRET has {len(secret)} characters and could be guessed: give it at least {SHORTEST_SECRET} drawn at random, or "
            "leave it empty to have one drawn at the start"
        )
    if found:
        raise UnsafeSettings("the service does not start: " + "; ".join(found))


def refuse_without_keys(keys: Keys, host: str) -> None:
    """Look whether anybody could use a service that other machines reach.

    Raises:
        UnsafeSettings: where no key is good: such a service is open to nobody, or about to be opened by an accident.
    """
    if not is_loopback(host) and not keys.any_good():
        raise UnsafeSettings(f"the service does not start: --host {host} is reached by other machines and no key is good; "
                             "make one with `orpr key NAME` first")  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of a name other than localhost nobody knows."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _about_the_network(settings: Settings, host: str) -> list[str]:
    found = []
    if not is_loopback(host) and not settings.transport:
        found.append(
            f"--host {host} is reached by other machines, and keys and the planner page's cookie would cross the network "
            "for all to read: set ORPR_TRANSPORT=tls where a proxy in front ends TLS, ORPR_TRANSPORT=plain where that is "
            "accepted, as in a container whose port is published to this machine only"
        )
    for proxy in settings.proxies:
        try:
            all_of_it = ip_network(proxy).prefixlen == 0
        except ValueError:
            found.append(f"ORPR_PROXIES must hold addresses or networks, as 10.0.0.5 or 10.0.0.0/24, got {proxy!r}")
        else:
            if all_of_it:
                found.append(
                    f"ORPR_PROXIES must not be everybody, got {proxy!r}: any caller could then name an address of its choice"
                )
    return found


def _about_names(settings: Settings) -> list[str]:
    found = []
    if "*" in settings.hosts and settings.planner:
        found.append(
            "ORPR_HOSTS must name the hosts, got '*': any site could point a name of its own at the planner page; name "
            "them, or switch the page off with ORPR_PLANNER=false"
        )
    found += [
        f"ORPR_ORIGINS must hold sites as https://name or https://name:port, got {origin!r}"
        for origin in settings.origins
        if origin_of(origin) is None
    ]
    return found


def _about_tokens(settings: Settings) -> list[str]:
    found = []
    if bool(settings.oidc_issuer) != bool(settings.oidc_audience):
        found.append(
            "ORPR_OIDC_ISSUER and ORPR_OIDC_AUDIENCE belong together: without an audience, tokens that the issuer gave for "
            "other programs would open this one"
        )
    if settings.oidc_issuer and not is_private(settings.oidc_issuer):
        found.append(
            f"ORPR_OIDC_ISSUER must be an https address, got {settings.oidc_issuer!r}: whoever is on the way could put "
            "keys of his own in place of the issuer's"
        )
    return found
