"""Every link within the checkout leads somewhere."""

from __future__ import annotations

import pytest

from docs.pages import ROOT, anchors, links, page, pages


@pytest.mark.parametrize(("name", "target"), sorted(set(links())), ids=lambda text: text)
def test_a_link_leads_somewhere(name: str, target: str) -> None:
    if target.startswith(("https://", "http://")):
        return
    path, _, anchor = target.partition("#")
    file = (ROOT / name).parent / path if path else ROOT / name
    assert file.exists(), f"{name} links to {target}"
    if anchor:
        assert anchor in anchors(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in pages() if name.startswith("docs/")])
def test_a_page_is_reached_from_the_readme(name: str) -> None:
    reached, pending = set(), ["README.md"]
    while pending:
        at = pending.pop()
        if at in reached or at not in pages():
            continue
        reached.add(at)
        for source, target in links():
            if source == at and "://" not in target and target.partition("#")[0]:
                file = ((ROOT / at).parent / target.partition("#")[0]).resolve()
                pending.append(str(file.relative_to(ROOT)))
    assert name in reached
    assert page(name).startswith("# ")
