"""The addresses at which other devices reach this machine, and a QR code for phones."""

from __future__ import annotations

import io
import ipaddress
import socket

import ifaddr
import segno

_VIRTUAL = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "podman", "lxc", "lxd")
"""What the names of network interfaces begin with that only containers and virtual machines of this machine reach."""


def is_wildcard(host: str) -> bool:
    """Whether a host stands for all addresses of this machine, as 0.0.0.0 and :: do."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def network_hosts(host: str) -> list[str]:
    """Addresses by which other devices can reach a server, those of IPv4 first.

    Interfaces are asked for their addresses; nothing is sent.

    Args:
        host: that it listens at; the wildcard of IPv4 takes no connections by IPv6.
    """
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:  # a sandbox may forbid it
        return []
    for adapter in adapters:
        if adapter.nice_name.lower().startswith(_VIRTUAL):
            continue
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                found.append(address)
    version_4 = [str(address) for address in found if address.version == 4]
    version_6 = [str(address) for address in found if address.version == 6]
    return version_4 if ipaddress.ip_address(host).version == 4 else [*version_4, *version_6[:1]]


def url(host: str, port: int) -> str:
    """The address of a server for browsers."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def urls(host: str, port: int) -> list[str]:
    """All addresses of a server, the most useful one first.

    Args:
        host: that it listens at.
        port: that it listens at.
    """
    if not is_wildcard(host):
        return [url(host, port)]
    hosts = network_hosts(host)
    return [url(one, port) for one in hosts] or [url(socket.gethostname(), port)]


def qr_code(text: str) -> str:
    """A QR code as text for a terminal."""
    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, border=2, compact=True)
    return drawn.getvalue()
