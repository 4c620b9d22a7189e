"""The ways that settings name, by channel. Here alone it is decided which kind of place is what."""

from collections.abc import Sequence
from typing import Final

from relight.notify import alertmanager
from relight.notify.alertmanager import Alertmanager
from relight.notify.mail import Mail, Server
from relight.notify.posting import Poster
from relight.notify.slack import Slack
from relight.notify.ways import Way
from relight.notify.webhook import Webhook
from relight.settings import Misconfigured, agents

_MAILTO: Final = "mailto:"


class Ways:
    """The ways for each channel: those of its route, and all others' where it has none."""

    def __init__(self, settings: agents.Notify) -> None:
        """Take where people are told. Nothing is connected to yet. Raises: Misconfigured."""
        try:
            self._default = _all(settings)
            self._routes = {
                channel: tuple(_way(settings, place.get_secret_value()) for place in places)
                for channel, places in settings.routes.items()
            }
        except OSError as error:
            raise Misconfigured(f"notify.ca_file: {settings.ca_file}: {error}") from error

    def of(self, channel: str) -> Sequence[Way]:
        """Return the ways for a channel; without any nobody is told."""
        return self._routes.get(channel, self._default)

    @property
    def most(self) -> int:
        """Return the most ways that any message takes."""
        return max(map(len, (self._default, *self._routes.values())))


def _all(settings: agents.Notify) -> tuple[Way, ...]:
    places = [place.get_secret_value() for place in settings.webhooks]
    places += [f"slack+{place.get_secret_value()}" for place in settings.slack]
    places += [f"alertmanager+{place.get_secret_value()}" for place in settings.alertmanager]
    mails = (_mail(settings, settings.mail_to),) if settings.mail_to else ()
    return (*(_way(settings, place) for place in places), *mails)


def _way(settings: agents.Notify, place: str) -> Way:
    if place.startswith(_MAILTO):
        return _mail(settings, (place.removeprefix(_MAILTO),))
    kind, _, url = place.partition("+") if place.startswith(("slack+", "alertmanager+")) else ("", "", place)
    if kind == "slack":
        return Slack(_poster(settings, url))
    if kind == "alertmanager":
        return Alertmanager(_poster(settings, url.rstrip("/") + alertmanager.PATH))
    return Webhook(_poster(settings, url))


def _poster(settings: agents.Notify, url: str) -> Poster:
    return Poster(url, timeout_s=settings.timeout_s, ca_file=settings.ca_file)


def _mail(settings: agents.Notify, receivers: Sequence[str]) -> Way:
    server = Server(
        address=settings.smtp or "",
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        ca_file=settings.ca_file,
        timeout_s=settings.timeout_s,
    )
    return Mail(server, settings.mail_from or "", receivers)
