"""The laptop: `make run`, whose Envoy watches the files in data/envoy/.

A lesson's envoy.yaml is a list of Envoy's resources. Each replaces the one of the same kind and name. Clusters are in
clusters.yaml, listeners in listeners.yaml; each route configuration, filter and secret has a file of its own. So a diff
shows what a lesson changes.
"""

import difflib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from string import Template

import httpx

from deploy.local import certificates, files, here, proxy, resources, sleepers
from deploy.local.split import with_weights
from lessons.runner.difference import is_comment, with_comments
from lessons.runner.lesson import Lesson, PlaceName
from lessons.runner.place import SLOW, Figures, UnsuitableError, count_requests, waiting_events
from lessons.runner.waiting import wait_until

FOLDER = proxy.CONFIGURATION
# How many seconds a run takes to end, at most.
ENDING = 15
# In this order no route ever leads to a cluster that is not there; a reset uses the reverse order.
ORDER = ("clusters.yaml", "-secret.yaml", "listeners.yaml", "-filter.yaml", "-routes.yaml", "lesson-filter.yaml")

LESSON = """\
# Each answer of the ingress names the lesson that is on. `make lesson-reset` renders the file again.
resources:
  - "@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
    name: lesson
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
      mutations:
        response_mutations:
          - append: { header: { key: x-lesson, value: %s }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
"""


class Laptop:
    """The `make run` of this folder."""

    name: PlaceName = "laptop"

    def __init__(self, run: here.Run) -> None:
        self._run = run
        # Keeps no idle connection: a service would not scale to zero while it is open.
        self._http = httpx.Client(timeout=10, trust_env=False, headers={"connection": "close"})

    @property
    def description(self) -> str:
        # Not kept: a lesson may change the scheme.
        return f"`make run` at {self._run.url}"

    def current(self) -> str | None:
        return proxy.lesson()

    def difference(self, lesson: Lesson, *, comments: bool = False) -> str:
        result: list[str] = []
        for name, text in self._changed(lesson, "").items():
            before, after = without_comments(read(name)), without_comments(text)
            diff = list(difflib.unified_diff(before, after, name, f"{name}, lesson {lesson.name}"))
            result += with_comments(diff, text) if comments else diff
        return "".join(result)

    def change(self, lesson: Lesson) -> str:
        return self._text(lesson, "")

    def must_be_on(self) -> None:
        # Envoy may have stopped while `make run` still waits for other processes to end.
        end = time.monotonic() + ENDING
        while here.current() == self._run:
            with suppress(httpx.TransportError):
                self._http.get(f"{self._run.admin}/ready")
                return
            if time.monotonic() > end:
                return
            time.sleep(0.1)
        raise UnsuitableError("`make run` has ended, and the lesson with it: start both again")

    def apply(self, lesson: Lesson, step: str = "") -> None:
        if lesson.about.certificates:
            from deploy.local import authority

            authority.make()
            authority.make_bad()
        changed = {**self._changed(lesson, step), "lesson-filter.yaml": LESSON % lesson.name}
        # New files come first: a listener may name one only when it is there.
        for name in sorted(changed, key=lambda name: ((FOLDER / name).exists(), order(name))):
            self._replace(name, changed[name])
        self._let_sleep(lesson.about.sleep)

    def present(self, certificate: str) -> None:
        text = proxy.template("certificate-secret.yaml", FOLDER, self._run.settings)
        self._replace("certificate-secret.yaml", text.replace("data/tls/ingress.", f"data/tls/{certificate}."))

    def reset(self) -> None:
        names = [path.name for path in proxy.TEMPLATES.glob("*.yaml") if path.name != "bootstrap.yaml"]
        for name in sorted(names, key=order, reverse=True):
            self._replace(name, proxy.template(name, FOLDER, self._run.settings))
        proxy.remove_others(FOLDER)
        self._let_sleep(self._run.sleep)

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        with certificates.client(self._run.url, timeout=30) as client:
            yield client

    def address(self) -> str:
        """Return the host and port of the ingress."""
        return self._run.url.partition("://")[2]

    def requests_served(self, service: str, version: str, method: str = "GET") -> int:
        return count_requests(self._get(f"{self._url(service, version)}/metrics"), method)

    def split(self, v1: int, v2: int) -> None:
        self._replace("user-routes.yaml", with_weights(read("user-routes.yaml"), v1, v2))

    def figures(self) -> dict[str, Figures]:
        names = {"filter": r"^cluster\.user-v[12]\.upstream_rq_(completed|5xx|time)$"}
        text = self._get(f"{self._run.admin}/stats/prometheus", names)

        def count(version: str, name: str, label: str = "") -> int:
            series = rf"^envoy_cluster_upstream_rq_{name}{{.*{label}.*}} (\d+)$"
            lines = (found[0] for found in re.finditer(series, text, re.MULTILINE))
            return sum(int(line.rpartition(" ")[2]) for line in lines if f'"user-{version}"' in line)

        return {
            version: Figures(
                count(version, "completed"),
                count(version, "xx", 'response_code_class="5"'),
                count(version, "time_count") - count(version, "time_bucket", f'le="{SLOW}"'),
            )
            for version in ("v1", "v2")
        }

    def outbox(self) -> int:
        return waiting_events(self._get(f"{self._url('rule', 'v1')}/metrics"))

    def proxy_counter(self, service: str, version: str | None, name: str) -> int:
        return self.counter(rf"cluster\.{service}{f'-{version}' if version else ''}\.{name}")

    def processes(self) -> dict[str, int]:
        """Return the process ids of the services that may sleep and are awake, by name, such as user-v1."""
        return {name: sleeper.process for name, sleeper in sleepers.read().items() if sleeper.process}

    def activators(self) -> list[int]:
        """Return the process ids of the activators."""
        return [sleeper.activator for sleeper in sleepers.read().values()]

    def start_of(self, service: str, version: str) -> dict[str, float]:
        """Return when a process that may sleep reached each point of its start, in seconds since 1970."""
        name = service if service == "rule" else f"{service}-{version}"
        metrics = self._get(f"{self._url(service, version)}/metrics")
        points = re.findall(r'^start_reached_timestamp_seconds{point="(\w+)"} (\S+)$', metrics, re.MULTILINE)
        return {"process": sleepers.read()[name].began, **{point: float(at) for point, at in points}}

    def time_within(self, service: str, version: str, method: str) -> tuple[float, float]:
        """Return how many seconds a process has worked on requests of a method, and how many these were."""
        metrics = self._get(f"{self._url(service, version)}/metrics")
        series = rf'^http_request_duration_seconds_%s{{method="{method}",.*?}} (\S+)$'
        seconds, count = (
            sum(map(float, re.findall(series % part, metrics, re.MULTILINE))) for part in ("sum", "count")
        )
        return seconds, count

    def counter(self, name: str) -> int:
        """Return the sum of Envoy's counters whose whole names match a pattern."""
        return self._sum(rf"^{name}$")

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the ingress and of Envoy's admin page."""
        return {"url": self._run.url, "admin": self._run.admin}

    def _url(self, service: str, version: str) -> str:
        """Return the address of a process itself."""
        return f"http://127.0.0.1:{self._run.ports[f'{service}_{version}_PORT'.upper()]}"

    def _let_sleep(self, after: int) -> None:
        """Scale services to zero after this many idle seconds; 0 disables that, and starts those that are at zero."""
        if after == sleepers.after():
            return
        sleepers.let_sleep(after)
        if not after:
            for service, version in (("rule", "v1"), ("user", "v1"), ("user", "v2")):
                # The answer comes when it is awake.
                self._get(f"{self._url(service, version)}/healthz")

    def _text(self, lesson: Lesson, step: str) -> str:
        """Return the text of a lesson's file, with the addresses of this run; "" if it has none."""
        path = lesson.change("laptop", step)
        if not path.exists():
            return ""
        template = Template(path.read_text(encoding="utf-8"))
        return template.substitute({**proxy.DEFAULTS, **self._run.ports, "FOLDER": FOLDER})

    def _changed(self, lesson: Lesson, step: str) -> dict[str, str]:
        """Return the files that a lesson replaces, by their names, with their new texts."""
        changed: dict[str, str] = {}
        if lesson.about.sleep:
            settings = {**self._run.settings, "SLEEP": lesson.about.sleep}
            changed = {
                name: proxy.template(name, FOLDER, settings) for name in ("rule-routes.yaml", "user-routes.yaml")
            }
        head, found = resources.split(self._text(lesson, step))
        for resource in found:
            if resource.kind in ("Cluster", "Listener"):
                file = f"{resource.kind.lower()}s.yaml"
                changed[file] = resources.with_resource(changed.get(file) or read(file), resource)
            else:
                end = {"RouteConfiguration": "routes", "Secret": "secret"}.get(resource.kind, "filter")
                file = f"{resource.name}-{end}.yaml"
                changed[file] = f"{head}{resource.text}\n"
        return changed

    def _replace(self, name: str, text: str) -> None:
        """Replace a file and wait until Envoy has applied it. Raises UnsuitableError if Envoy rejects it."""
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        # Two kinds of file are not waited for: a new one, which Envoy watches once a listener refers to it, and a
        # certificate, which it watches with HTTPS only (lesson 19 waits until it is served).
        is_watched, updates = path.exists() and not name.endswith("-secret.yaml"), counter_of(name)
        taken, refused = self._sum(updates + "success$"), self._sum(updates + "rejected$")
        files.replace(path, text)
        if is_watched:
            wait_until(
                lambda: self._sum(updates + "(success|rejected)$") > taken + refused,
                f"Envoy has read {path}",
            )
        if self._sum(updates + "rejected$") > refused:
            raise UnsuitableError(f"Envoy rejected {path}: the output of `make run` shows why")
        wait_until(lambda: not self._sum(r"(warming_clusters|total_listeners_warming)$"), f"{path} is applied")

    def _sum(self, pattern: str) -> int:
        """Return the sum of Envoy's stats, counters or gauges, whose names match."""
        stats = self._get(f"{self._run.admin}/stats", {"filter": pattern})
        return sum(int(line.rpartition(": ")[2]) for line in stats.splitlines())

    def _get(self, url: str, parameters: dict[str, str] | None = None) -> str:
        try:
            return self._http.get(url, params=parameters).text
        except httpx.TransportError:
            self.must_be_on()
            # A transient error, or the run is ending.
            try:
                return self._http.get(url, params=parameters).text
            except httpx.TransportError:
                self.must_be_on()
                raise


def read(name: str) -> str:
    """Return the text of one of the files, "" if it is new."""
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def without_comments(text: str) -> list[str]:
    """Return the lines of a file without comments and empty lines."""
    return [line for line in text.splitlines(keepends=True) if line.strip() and not is_comment(line)]


def order(name: str) -> int:
    """Return the place of a file in ORDER."""
    return max(index for index, end in enumerate(ORDER) if name.endswith(end))


def counter_of(name: str) -> str:
    """Return a pattern for the prefix of Envoy's `update_*` counters of a file."""
    stem, _, kind = name.removesuffix(".yaml").rpartition("-")
    counted = {
        "clusters": "cds",
        "listeners": "lds",
        "routes": f"rds.{stem}",
        "filter": f"http_filter.{stem}",
        "secret": f"sds.{stem}",
    }[kind]
    return rf"\.{re.escape(counted)}\.update_"
