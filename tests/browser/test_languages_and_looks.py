"""Languages, themes and widths."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.screen import IS_WIDER, PASSWORD, Screen

DARK, LIGHT = "rgb(9, 14, 30)", "rgb(233, 238, 248)"
LONG = "Supercalifragilisticexpialidocious" * 5


def test_working_in_chinese(visit: Visit) -> None:
    """The page follows the browser until a language is chosen; one that it does not have becomes English."""
    other = visit(locale="de-DE").open()
    expect(other.locator("html")).to_have_attribute("lang", "en")
    expect(other.page).to_have_title("todolist: todo items on a service mesh")
    page = visit(locale="zh-CN").open()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.page).to_have_title("todolist：服务网格上的待办事项")
    page.register.click()
    page.dialog.get_by_label("用户名").fill("王")
    page.dialog.get_by_label("密码", exact=True).fill(PASSWORD)
    page.choose("注册")
    expect(page.dialog.get_by_text("用户名长度应为 2 到 50 个字符。")).to_be_visible()
    page.dialog.get_by_label("用户名").fill("王小明")
    page.choose("注册")
    expect(page.message).to_have_text("欢迎，王小明")

    page.new_item.click()
    page.dialog.get_by_label("名称", exact=True).fill("买牛奶")
    page.choose("创建")
    expect(page.message).to_have_text("已创建“买牛奶”")
    page.get_by_role("button", name="暂停：买牛奶").click()
    expect(page.locator(".range")).to_have_text("第 1–1 项，共 1 项")

    # All that is on the page changes with the language, and stays so after a reload.
    page.open()
    for language, title, status, resume in (
        ("English", "todolist: todo items on a service mesh", "Paused", "Resume: 买牛奶"),
        ("中文", "todolist：服务网格上的待办事项", "已暂停", "继续：买牛奶"),
    ):
        page.set_language(language)
        # Nothing is left for a screen reader in the former language.
        expect(page.locator("#announcer-items")).to_have_text("")
        for _ in range(2):
            expect(page.page).to_have_title(title)
            expect(page.status_of("买牛奶")).to_have_text(status)
            expect(page.get_by_role("button", name=resume)).to_be_visible()
            expect(page.get_by_test_id("lang-switch").get_by_label(language)).to_be_checked()
            page.open()

    # Every text is there in both languages.
    texts = page.evaluate(
        "async () => ({ en: (await import('/locales/en.js')).default, zh: (await import('/locales/zh.js')).default })"
    )
    assert texts["en"].keys() == texts["zh"].keys()

    for key, forms in texts["zh"].items():
        # A text that depends on a number has several forms.
        chinese, english = str(forms), str(texts["en"][key])
        assert {*re.findall(r"\{\w+\}", chinese)} == {*re.findall(r"\{\w+\}", english)}, key
        words = re.sub(r"\{\w+\}|'\w+':|\W", "", chinese)
        assert not words or re.search(r"[\u4e00-\u9fff]", words), key


def test_dark_follows_the_system_until_it_is_chosen(visit: Visit) -> None:
    page = visit(color_scheme="dark").open()
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


def test_texts_stand_out_from_their_ground(member: Screen) -> None:
    member.open_with(*({"name": f"Item {status}", "desc": "words", "status": status} for status in range(4)))
    # WCAG 2.2, 1.4.3: 4.5 to 1 for text of this size.
    weak = """() => {
      const channels = (color) => color.match(/[\\d.]+/g).map(Number);
      const light = (color) => {
        const [r, g, b] = channels(color).map((v) => v / 255)
          .map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const ground = (node) => {
        const { backgroundColor } = getComputedStyle(node);
        // A fourth channel says that what is behind it shows.
        return channels(backgroundColor).length === 3 ? backgroundColor : ground(node.parentElement);
      };
      const shown = [...document.querySelectorAll('.top *, .list *')].filter((node) => node.checkVisibility()
        && !node.closest('.visually-hidden, svg, option')
        && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
      return shown.map((node) => {
        const [a, b] = [getComputedStyle(node).color, ground(node)].map(light).sort((x, y) => y - x);
        return [`${node.className || node.tagName}: ${node.textContent}`, (a + .05) / (b + .05)];
      }).filter(([, ratio]) => ratio < 4.5);
    }"""
    for scheme in ("light", "dark"):
        member.emulate_media(color_scheme=scheme)
        assert member.evaluate(weak) == []


def test_a_narrow_screen_is_usable(visit: Visit) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    page = visit(**phone)
    page.sign_up("narrow")
    page.add_items(*(f"Item {number}" for number in range(12)), {"name": LONG, "desc": LONG})

    def check_width() -> None:
        assert not page.evaluate(IS_WIDER)
        assert page.evaluate("visualViewport.width") == 360

    for visitor in (visit(**phone), page):
        visitor.open("/?size=10")
        for language in ("中文", "English"):
            visitor.set_language(language)
            assert visitor.rows.first.bounding_box()["y"] < 350, visitor.locator("#corner").inner_text()
    check_width()
    # WCAG 2.2, 2.5.8 asks for 24 px; fingers are happier with these 40.
    controls = "main button:visible:not(.name), header button:visible, #new-item, #search, select:visible"
    for control in page.locator(controls).all():
        box = control.bounding_box()
        assert 0 <= box["x"] <= 360 - box["width"], control
        assert box["height"] >= 40, f"{control.inner_text()} {control.get_attribute('aria-label')}: {box}"

    page.action("Pause", "Item 11").tap()
    expect(page.status_of("Item 11")).to_have_text("Paused")
    # What folds away shows that it is in use, and is unfolded then.
    refine, statuses = page.locator("#refine"), page.get_by_test_id("status-filter")
    expect(statuses).to_be_hidden()
    refine.tap()
    expect(refine).to_have_attribute("aria-expanded", "true")
    page.get_by_label("Sort by").select_option("name_ascend")
    expect(page.names.first).to_have_text("Item 0")
    statuses.locator("label", has_text="In progress").tap()
    expect(refine).to_have_accessible_name("Filter and sort (in use)")
    page.reload()
    expect(statuses).to_be_visible()
    expect(page.names).to_have_count(10)

    page.select_all.tap()
    expect(page.delete_selected).to_be_in_viewport(ratio=1)
    check_width()
    page.delete_selected.tap()
    delete, create = (page.dialog.get_by_role("button", name=name, exact=True) for name in ("Delete", "Create"))
    expect(delete).to_be_in_viewport(ratio=1)
    check_width()
    delete.tap()
    expect(page.names).to_have_count(2)

    page.new_item.tap()
    expect(create).to_be_in_viewport(ratio=1)
    page.name.fill("On the way")
    create.tap()
    expect(page.message).to_have_text("Created “On the way”")
    check_width()
