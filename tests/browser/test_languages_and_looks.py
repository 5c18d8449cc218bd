"""Languages, themes and widths."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.screen import IS_WIDER, PASSWORD, add_items, dialog, names, open_list, sign_up, status_of

DARK, LIGHT = "rgb(9, 14, 30)", "rgb(233, 238, 248)"
LONG = "Supercalifragilisticexpialidocious" * 5


def test_working_in_chinese(visit: Visit) -> None:
    """The page follows the browser until a language is chosen; one that it does not have becomes English."""
    other = open_list(visit(locale="de-DE"))
    expect(other.locator("html")).to_have_attribute("lang", "en")
    expect(other).to_have_title("todolist: todo items on a service mesh")
    page = open_list(visit(locale="zh-CN"))
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page).to_have_title("todolist：服务网格上的待办事项")
    page.get_by_test_id("register").click()
    dialog(page).get_by_label("用户名").fill("王")
    dialog(page).get_by_label("密码", exact=True).fill(PASSWORD)
    dialog(page).get_by_role("button", name="注册", exact=True).click()
    expect(dialog(page).get_by_text("用户名长度应为 2 到 50 个字符。")).to_be_visible()
    dialog(page).get_by_label("用户名").fill("王小明")
    dialog(page).get_by_role("button", name="注册", exact=True).click()
    expect(page.locator("#toast-status")).to_have_text("欢迎，王小明")

    page.get_by_test_id("new-item").click()
    page.get_by_label("名称", exact=True).fill("买牛奶")
    page.get_by_role("button", name="创建", exact=True).click()
    expect(page.locator("#toast-status")).to_have_text("已创建“买牛奶”")
    page.get_by_role("button", name="暂停：买牛奶").click()
    expect(page.locator(".range")).to_have_text("第 1–1 项，共 1 项")

    # All that is on the page changes with the language, and stays so after a reload.
    switch = open_list(page).get_by_test_id("lang-switch")
    for language, title, status, resume in (
        ("English", "todolist: todo items on a service mesh", "Paused", "Resume: 买牛奶"),
        ("中文", "todolist：服务网格上的待办事项", "已暂停", "继续：买牛奶"),
    ):
        switch.get_by_label(language).check()
        # Nothing is left for a screen reader in the former language.
        expect(page.locator("#announcer-items")).to_have_text("")
        for _ in range(2):
            expect(page).to_have_title(title)
            expect(status_of(page, "买牛奶")).to_have_text(status)
            expect(page.get_by_role("button", name=resume)).to_be_visible()
            expect(switch.get_by_label(language)).to_be_checked()
            open_list(page)

    # Every text is there in both languages.
    texts = page.evaluate(
        "async () => ({ en: (await import('/locales/en.js')).default, zh: (await import('/locales/zh.js')).default })"
    )
    assert texts["en"].keys() == texts["zh"].keys()

    def parts(text: str | dict[str, str]) -> tuple[set[str], str]:
        """Return the places of a text, and its words between them."""
        whole = text if isinstance(text, str) else " ".join(text.values())
        return set(re.findall(r"\{\w+\}", whole)), re.sub(r"\{\w+\}|\W", "", whole)

    for key, text in texts["zh"].items():
        places, words = parts(text)
        assert places == parts(texts["en"][key])[0], key
        assert not words or re.search(r"[\u4e00-\u9fff]", words), key


def test_dark_follows_the_system_until_it_is_chosen(visit: Visit) -> None:
    page = open_list(visit(color_scheme="dark"))
    body, switch = page.locator("body"), page.get_by_test_id("theme-switch")
    expect(body).to_have_css("background-color", DARK)
    expect(switch.get_by_label("Same as system")).to_be_checked()
    switch.get_by_label("Light").check()
    expect(body).to_have_css("background-color", LIGHT)
    page.reload()
    expect(body).to_have_css("background-color", LIGHT)
    page.emulate_media(color_scheme="light")
    switch.get_by_label("Dark").check()
    expect(body).to_have_css("background-color", DARK)
    switch.get_by_label("Same as system").check()
    expect(body).to_have_css("background-color", LIGHT)


def test_texts_stand_out_from_their_ground(member: Page) -> None:
    add_items(member, *({"name": f"Item {status}", "desc": "words", "status": status} for status in range(4)))
    open_list(member)
    # WCAG 2.2, 1.4.3: 4.5 to 1 for text of this size.
    weak = """() => {
      const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      const rgba = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
      };
      const light = (color) => {
        const [r, g, b] = color.map((v) => v / 255)
          .map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const ground = (node) => {
        for (; node; node = node.parentElement) {
          const color = rgba(getComputedStyle(node).backgroundColor);
          if (color[3] === 255) return color;
        }
      };
      const shown = [...document.querySelectorAll('.top *, .list *')].filter((node) => node.checkVisibility()
        && !node.closest('.visually-hidden, svg, option')
        && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
      return shown.map((node) => {
        const tones = [rgba(getComputedStyle(node).color), ground(node)];
        const [a, b] = tones.map(light).sort((x, y) => y - x);
        return [`${node.className || node.tagName}: ${node.textContent}`, (a + .05) / (b + .05)];
      }).filter(([, ratio]) => ratio < 4.5);
    }"""
    for scheme in ("light", "dark"):
        member.emulate_media(color_scheme=scheme)
        assert member.evaluate(weak) == []


def test_a_narrow_screen_is_usable(visit: Visit, unique: Callable[[str], str]) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    page = visit(**phone)
    sign_up(page, unique("narrow"))
    add_items(page, *(f"Item {number}" for number in range(12)), {"name": LONG, "desc": LONG})

    def check_width() -> None:
        assert not page.evaluate(IS_WIDER)
        assert page.evaluate("visualViewport.width") == 360

    for visitor in (visit(**phone), page):
        open_list(visitor, "/?size=10")
        for language in ("中文", "English"):
            visitor.get_by_test_id("lang-switch").get_by_label(language).check()
            first = visitor.get_by_test_id("item-row").first.bounding_box()
            assert first is not None
            assert first["y"] < 350, visitor.locator("#corner").inner_text()
    check_width()
    # WCAG 2.2, 2.5.8 asks for 24 px; fingers are happier with these 40.
    for control in page.locator(
        "main button:visible:not(.name), header button:visible, #new-item, #search, select:visible"
    ).all():
        box = control.bounding_box()
        assert box is not None
        assert box["x"] >= 0, control
        assert box["x"] + box["width"] <= 360, control
        assert box["height"] >= 40, f"{control.inner_text()} {control.get_attribute('aria-label')}: {box}"

    page.get_by_role("button", name="Pause: Item 11", exact=True).tap()
    expect(status_of(page, "Item 11")).to_have_text("Paused")
    # What folds away shows that it is in use, and is unfolded then.
    refine, statuses = page.locator("#refine"), page.get_by_test_id("status-filter")
    expect(statuses).to_be_hidden()
    refine.tap()
    expect(refine).to_have_attribute("aria-expanded", "true")
    page.get_by_label("Sort by").select_option("name_ascend")
    expect(names(page).first).to_have_text("Item 0")
    statuses.locator("label", has_text="In progress").tap()
    expect(refine).to_have_accessible_name("Filter and sort (in use)")
    page.reload()
    expect(statuses).to_be_visible()
    expect(names(page)).to_have_count(10)

    page.get_by_label("Select all on this page").tap()
    bulk = page.get_by_role("button", name="Delete selected")
    expect(bulk).to_be_in_viewport(ratio=1)
    check_width()
    bulk.tap()
    expect(dialog(page).get_by_role("button", name="Delete")).to_be_in_viewport(ratio=1)
    check_width()
    dialog(page).get_by_role("button", name="Delete").tap()
    expect(names(page)).to_have_count(2)

    page.get_by_test_id("new-item").tap()
    expect(dialog(page).get_by_role("button", name="Create", exact=True)).to_be_in_viewport(ratio=1)
    page.get_by_label("Name", exact=True).fill("On the way")
    dialog(page).get_by_role("button", name="Create", exact=True).tap()
    expect(page.locator("#toast-status")).to_have_text("Created “On the way”")
    check_width()
