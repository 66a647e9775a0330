"""Reads where events come from and what people were shown: sites, sources and notices."""

import re
from zoneinfo import ZoneInfo

from consent.policy import Regime, SitePolicy, SourcePolicy, Trust
from consent.purposes import PurposeSet
from gateway.configuration.purposes import Declared, Leaves, read_purposes
from gateway.configuration.secret import WRITE_KEY, read_secret
from gateway.configuration.section import Section
from gateway.configuration.shapes import ControllerSettings, NoticeSettings, SourceSettings
from gateway.configuration.suggestion import nearest, shown
from gateway.errors import SettingsError

__all__ = ["read_notices", "read_sites", "read_sources", "read_trusted_hosts"]

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ADDRESS = re.compile(r"\[[0-9a-f:.]{2,45}\]")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[^:/?#@]+|\[[^]]+\])(?P<port>:\d{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_COUNTRY = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def read_sites(root: Section) -> tuple[dict[str, SitePolicy], dict[str, ControllerSettings]]:
    """Return the sites and who answers for them."""
    sites, controllers = {}, {}
    sections = root.tables("site")
    if not sections and "site" not in root.slips:
        root.note("", "[site.NAME] is missing: there must be at least one site")
    for name, section in sections.items():
        sites[name] = _site(name, section)
        if "controller" in section:
            controllers[name] = _controller(section.table("controller"))
    return sites, controllers


def _site(name: str, section: Section) -> SitePolicy:
    domain = section.text("domain").lower()
    if domain and not _HOST.fullmatch(domain):
        section.note("domain", 'must be a host name such as "shop.example"')
    regime = section.choice("regime", [regime.value for regime in Regime], Regime.OPT_IN.value)
    return SitePolicy(
        name=name,
        domain=domain,
        timezone=_time_zone(section),
        regime=Regime(regime) if regime in set(Regime) else Regime.OPT_IN,
        region=_country(section, "region", "DE"),
    )


def _time_zone(section: Section) -> str:
    name = section.text("timezone")
    try:
        return ZoneInfo(name).key if name else ""
    except (KeyError, ValueError, OSError):
        from zoneinfo import available_timezones  # noqa: PLC0415 - reads hundreds of files

        meant = nearest(name, available_timezones())
        end = f", did you mean {meant!r}?" if meant else ""
        section.note(
            "timezone",
            f"{shown(name)} is not an IANA time zone{end}",
            'Write it as in "Europe/Berlin".',
        )
        return ""


def _country(section: Section, key: str, default: str | None = None) -> str:
    country = section.text(key, default)
    if country and not _COUNTRY.fullmatch(country):
        section.note(key, 'must be a country of ISO 3166 such as "DE"')
    return country


def _controller(section: Section) -> ControllerSettings:
    return ControllerSettings(
        name=section.text("name"),
        contact=section.text("contact"),
        country=_country(section, "country"),
    )


def read_sources(
    root: Section, sites: dict[str, SitePolicy], leaves: Leaves, declared: Declared
) -> tuple[dict[str, SourceSettings], dict[str, SourcePolicy]]:
    """Return the sources as the collector and as the decision see them."""
    settings: dict[str, SourceSettings] = {}
    policies: dict[str, SourcePolicy] = {}
    used = declared.default.union(*declared.events.values())
    for name, section in root.tables("sources").items():
        site = section.choice("site", sites.keys())
        trust = section.choice("trust", [trust.value for trust in Trust])
        key = _write_key(section, trust)
        for other in settings.values():
            if key and key == other.key:
                section.note("", f"has the same write key as the source {other.name!r}")
        settings[name] = SourceSettings(name, site, trust, key, _origins(section, trust))
        if trust in set(Trust):
            narrow = _narrowed(section, leaves, used)
            policies[name] = SourcePolicy(name, site, Trust(trust), narrow)
    return settings, policies


def _write_key(section: Section, trust: str) -> str:
    if trust == Trust.SERVER:
        if "key" in section:
            section.note(
                "key",
                "a server key does not stand in this file",
                'Put it in a file of mode 0400 and name that: key_file = "secrets/backend.key".',
            )
            return ""
        return _key_from_file(section)
    if "key_file" in section:
        section.note(
            "key_file",
            "a public source has no key file: its key is in every page",
            'Write key = "wk_…", or set trust = "server".',
        )
        return ""
    key = section.text("key")
    if key and not WRITE_KEY.fullmatch(key):
        section.note("key", "must be 1 to 256 printable characters, no blank and no colon")
    return key


def _key_from_file(section: Section) -> str:
    name = section.text("key_file")
    try:
        return read_secret(section.folder / name) if name else ""
    except SettingsError as error:
        section.note("key_file", str(error), error.hint)
        return ""


def _origins(section: Section, trust: str) -> tuple[str, ...]:
    """Return the origins in the form in which browsers send them."""
    origins = section.texts("origins")
    if origins and trust == Trust.SERVER:
        section.note("origins", "a server key must not be used by a page")
    found = []
    for origin in origins:
        parts = _ORIGIN.fullmatch(origin.lower())
        if parts is None or not _is_host(parts["host"]):
            section.note("origins", 'must be scheme and host, as in "https://shop.example"')
            return ()
        port = parts["port"] or ""
        port = "" if port == _DEFAULT_PORTS[parts["scheme"]] else port
        found.append(f"{parts['scheme']}://{parts['host']}{port}")
    return tuple(found)


def _is_host(text: str) -> bool:
    return bool(_HOST.fullmatch(text) or _ADDRESS.fullmatch(text))


def _narrowed(section: Section, leaves: Leaves, used: PurposeSet) -> PurposeSet:
    narrow = read_purposes(section, "purposes", leaves)
    if "purposes" in section and not section.texts("purposes"):
        section.note("purposes", "an empty list would admit nothing", "Remove key or source.")
    elif narrow and not narrow & used:
        section.note(
            "purposes",
            "may only narrow, and no event is declared for any of these",
            "Add the purpose to [events.default] or to the events that need it.",
        )
    return narrow


def read_notices(
    root: Section, leaves: Leaves, declared: Declared
) -> tuple[dict[str, NoticeSettings], dict[str, PurposeSet]]:
    """Return the notices and what each offers."""
    notices: dict[str, NoticeSettings] = {}
    offers: dict[str, PurposeSet] = {}
    reachable: PurposeSet = frozenset().union(*declared.categories.values())
    for name, section in root.tables("notices").items():
        languages = section.table("languages")
        if not languages.keys and "languages" not in section.slips:
            section.note("languages", 'needs at least one: { en = "notices/web.en.md" }')
        for tag in languages.keys:
            if not _LANGUAGE.fullmatch(tag):
                languages.note(tag, 'must be a language tag such as "de" or "en-GB"')
        files = {tag: languages.file(tag, languages.text(tag)) for tag in languages.keys}
        notices[name] = NoticeSettings(name, section.text("version"), files)
        given = "offers" in section
        offers[name] = read_purposes(section, "offers", leaves) if given else reachable
        if not offers[name]:
            section.note("offers", "this notice offers no purpose")
    return notices, offers


def read_trusted_hosts(root: Section) -> tuple[str, ...]:
    """Return the hosts that the collector answers to, without ports; none means any."""
    hosts = tuple(host.lower() for host in root.texts("trusted_hosts"))
    if not all(map(_is_host, hosts)):
        root.note("trusted_hosts", 'must be hosts without a port, as in "collect.shop.example"')
    return hosts
