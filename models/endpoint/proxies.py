"""The proxy for a server, by the environment. This machine is never behind a proxy."""

import os
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from models.errors import ModelError

_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(url: str) -> str | None:
    """Return the address of the proxy for a server, which can hold a password; None if it needs no proxy.

    Raises:
        ModelError: the address of the proxy is wrong, or a package that it needs is not installed.
    """
    server = urlsplit(url)
    host = server.hostname or ""
    if _is_this_machine(host):
        return None
    proxies = getproxies()
    scheme = server.scheme if proxies.get(server.scheme) else "all"
    proxy = proxies.get(scheme)
    named = host if server.port is None else f"{host}:{server.port}"
    if not proxy or _is_exempt(host, proxies.get("no", "")) or proxy_bypass(named):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    name = next((each for each in os.environ if each.lower() == f"{scheme}_proxy"), "the settings of the system")
    try:
        parts = urlsplit(proxy)
        shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError as error:
        raise ModelError(f"{name} holds no address of a proxy; set it to something like http://HOST:PORT") from error
    advice = f"or name {host} in NO_PROXY to do without a proxy"
    if not parts.hostname or parts.scheme not in _SCHEMES:
        what = f"a proxy of the kind {parts.scheme!r}" if parts.hostname else "no address of a proxy"
        raise ModelError(f"{name} holds {what}; kinds that can be used are {', '.join(_SCHEMES)}; {advice}")
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ModelError(f"the proxy {shown} of {name} needs a package: pip install socksio; {advice}")
    return proxy


def _is_this_machine(host: str) -> bool:
    bare = host.rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified


def _is_exempt(host: str, exempt: str) -> bool:
    """Tell whether a list of networks contains an address. (Python checks names and single addresses itself.)"""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for each in exempt.split(","):
        try:
            if address in ip_network(each.strip().strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False
