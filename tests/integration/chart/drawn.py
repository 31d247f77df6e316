"""Values that a schema allows, drawn by Hypothesis.

`examples` stand for what a pattern says too little about (a URL, or what Kubernetes alone can
check). Texts without a pattern are meant to be hard on YAML and on templates. What goes together by
a rule of the chart rather than by the schema is mended by `drawn_values`.
"""

from typing import Any

from hypothesis import strategies as st

from tests.integration.chart.helm import NEEDED

Schema = dict[str, Any]

_HARD = [
    "true",
    "1",
    "0x1",
    "1e3",
    "null",
    "~",
    "",
    " ",
    "a: b",
    "#",
    "{{ a }}",
    "{{`",
    "'",
    '"',
    "é",
]
_ASCII = st.characters(min_codepoint=ord(" "), max_codepoint=ord("~"))


def drawn_values(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the whole chart."""
    return _drawn(schema).map(_mended)


def _drawn(schema: Schema) -> st.SearchStrategy[Any]:
    if "examples" in schema:
        return st.sampled_from([*schema["examples"], *_given(schema)])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_KINDS[kind](schema) for kind in kinds])


def _given(schema: Schema) -> list[Any]:
    return [schema["default"]] if "default" in schema else []


def _text(schema: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 60)
    if "pattern" in schema:
        found = st.from_regex(schema["pattern"], fullmatch=True, alphabet=_ASCII)
        return found.filter(lambda text: least <= len(text) <= most)
    plain = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
    text = st.sampled_from(_HARD) | st.text(plain, max_size=min(most, 20))
    return text.filter(lambda one: least <= len(one) <= most)


def _number(schema: Schema) -> st.SearchStrategy[int]:
    return st.integers(schema.get("minimum", 0), schema.get("maximum", 10**6))


def _list(schema: Schema) -> st.SearchStrategy[list[Any]]:
    items, most = schema["items"], min(schema.get("maxItems", 3), 3)
    named = "name" in items.get("properties", {})
    unique_by = (lambda one: one["name"]) if named else repr
    least = schema.get("minItems", 0)
    return st.lists(_drawn(items), min_size=least, max_size=most, unique_by=unique_by)


def _mapping(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: _drawn(field) for name, field in schema.get("properties", {}).items()}
    needed = {name: fields.pop(name) for name in schema.get("required", ())}
    more = schema.get("additionalProperties", True)
    if not isinstance(more, dict):
        return st.fixed_dictionaries(needed, optional=fields)
    return st.dictionaries(_text(schema["propertyNames"]), _drawn(more), max_size=3)


_KINDS: dict[str, Any] = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
    "array": _list,
    "object": _mapping,
}


def _mended(values: dict[str, Any]) -> dict[str, Any]:
    for group, needed in NEEDED.items():
        for name, default in needed.items():
            values[group][name] = values[group].get(name) or default
    secret = values["prefect"]["existingSecret"]
    if not secret.get("name"):
        secret.clear()
    elif secret.get("authStringKey"):
        secret.pop("apiKeyKey", None)
    elif not secret.get("apiKeyKey"):
        secret["apiKeyKey"] = "key"
    index = values["config"]["index"]
    if not index.get("url"):
        index.pop("extraUrls", None)
    for number, one in enumerate(index.get("packages") or []):
        one["names"] = [f"torch-{number}"]  # each package once
    for pool in values["config"].get("workPools") or []:
        cache = pool.pop("cache", None) or {}
        if pool.get("delivery") == "Cache":
            place = "hostPath" if cache.get("hostPath") else "claimName"
            others = {k: one for k, one in cache.items() if k not in {"claimName", "hostPath"}}
            pool["cache"] = {place: cache.get(place) or "flowdeps-cache", **others}
            pool["jobNamespaces"] = ["jobs"]  # one, for a directory of the node
        if pool.get("delivery") == "Volume":
            pool["volume"] = pool.get("volume") or {"claimName": "environments"}
        if pool.get("labels"):
            pool |= {"name": "dask", "image": "flows:1", "delivery": "Image"}
            pool["jobNamespaces"] = ["jobs"]
            for one in ("volume", "cache", "defaultNamespaces"):
                pool.pop(one, None)
        environments = values["config"]["environments"]
        if (pool.get("volume") or pool.get("labels")) and not environments.get("repository"):
            environments["repository"] = "registry.example.com/environments"
    values["leaderElection"].clear()  # each of the three times bounds another
    metrics = values["metrics"]
    if metrics["serviceMonitor"].get("enabled"):
        metrics["podMonitor"]["enabled"] = False
    return values
