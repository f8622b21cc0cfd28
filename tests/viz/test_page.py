"""The interactive page in a real browser: every control does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm

from .test_lanes import Own

TOKENS = ["The", " ", "cat", "</script>", "\u202esat", "on"]
WIDE = {"viewport": {"width": 1500, "height": 1000}}


def small_gpt(layers: int, heads: int, **options: Any) -> tuple[tm.nn.Module, tm.Tensor]:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 8, embed_dim=2 * heads, num_heads=heads, num_layers=layers, **options)
    return gpt, gpt(tm.tensor([[1, 2, 3, 4, 5, 6]])).reshape(-1, 9)


@pytest.fixture(scope="module")
def graphs() -> dict[str, tm.viz.Graph]:
    target = tm.tensor([2, 3, 4, 5, 6, 7])
    gpt, logits = small_gpt(2, 2)
    deep, deep_logits = small_gpt(4, 12)
    x = tm.tensor([1.0, float("nan")], requires_grad=True)
    flow = tm.tensor([1.0, 2.0], requires_grad=True)
    chain = flow
    for _ in range(300):
        chain = chain * 1.01
    with tm.autograd.record_origin():
        flows = (flow * 1e-9 + flow * 1e6).sum()
    return {
        "gpt": tm.viz.trace(
            tm.cross_entropy(logits, target), model=gpt, tokens=TOKENS, title="<b>title</b>"
        ),
        "forward": tm.viz.trace(logits, model=gpt, tokens=TOKENS),
        "deep": tm.viz.trace(tm.cross_entropy(deep_logits, target), model=deep),
        "plain": tm.viz.trace((x * x).sum()),
        "flows": tm.viz.trace(flows, record_time=True),
        "chain": tm.viz.trace(chain.sum()),
    }


@pytest.fixture(scope="module")
def pages(
    graphs: dict[str, tm.viz.Graph], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: graph.save(folder / f"{name}.html") for name, graph in graphs.items()}


@pytest.fixture
def opened(visit: Callable[..., Any], pages: dict[str, Path]) -> Callable[..., Any]:
    return lambda name, **options: visit(pages[name], **{**WIDE, **options})


def box(page: Any, label: str) -> Any:
    """Boxes and frames of the graph whose spoken name begins so."""
    return page.locator(f'#world [data-key][aria-label^="{label}"]')


def choose(page: Any, label: str) -> None:
    """Choose in the graph, wherever it is scrolled."""
    box(page, label).first.focus()
    page.keyboard.press("Enter")


# -- opening --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt", "forward", "plain"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 420), ("dark", 1400)])
def test_opens_offline_in_any_size_and_colour(
    opened: Any, name: str, scheme: str, width: int
) -> None:
    page = opened(name, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.locator("#title").inner_text() != ""
    assert page.locator("#world .box").count() > 1
    # nothing stands out of the page to the right
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_small_pages_are_small(pages: dict[str, Path]) -> None:
    assert all(path.stat().st_size < 2_000_000 for path in pages.values())


def test_lanes_are_proved_on_the_page(opened: Any) -> None:
    page = opened("gpt")
    assert page.locator("#proof").inner_text() == "✓ the lanes of all 2 attentions add up"
    assert page.locator("#proofs").is_hidden()
    page.click("#proof")
    words = page.locator("#proofs li").all_inner_texts()
    assert [word.split(":")[0] for word in words] == [
        "✓ blocks.0.attention",
        "✓ blocks.1.attention",
    ]
    assert all("Σ lanes = output (largest difference " in word for word in words)
    page.keyboard.press("Escape")
    assert page.locator("#proofs").is_hidden()
    assert page.locator("#lanes-proof").inner_text().startswith("✓ Σ lanes = output")


# -- the graph ------------------------------------------------------------------------------


def test_groups_open_and_fold(opened: Any) -> None:
    page = opened("gpt")
    page.click("#collapse")
    few = page.locator("#world [data-key]").count()
    page.click("#expand")
    many = page.locator("#world [data-key]").count()
    assert many > 3 * few
    frame = box(page, "blocks.0, module")
    assert frame.get_attribute("aria-expanded") == "true"
    frame.focus()
    page.keyboard.press("Enter")
    assert box(page, "blocks.0, module").get_attribute("aria-expanded") == "false"
    assert page.locator("#world [data-key]").count() < many
    page.click("#fit")
    box(page, "blocks.0, module").locator(".fold").click()  # the sign opens it again
    assert page.locator("#world [data-key]").count() == many


def test_heads_are_lanes_or_one_axis(opened: Any) -> None:
    page = opened("gpt")
    assert box(page, "head 1, attention").count() == 1  # the first attention is open
    assert box(page, "Σᵢ W_o[:, i] hᵢ").count() == 1
    choose(page, "head 2, attention")
    lane = page.locator('#world [data-key^="a0h1v"]')
    assert lane.count() == 9  # three projections, three splits, scores, softmax, product
    page.uncheck("#lanes")
    assert page.locator('#world [data-key^="a0h"]').count() == 0
    assert box(page, "merge heads").count() == 1


def test_more_than_eight_heads_share_a_strip(opened: Any, graphs: dict[str, tm.viz.Graph]) -> None:
    page = opened("deep")
    assert page.locator("#world .box.lane").count() == 8
    lanes = sorted(graphs["deep"].heads[0].lanes, key=lambda lane: -lane.contribution)
    largest = sorted(f"a0h{lane.head}" for lane in lanes[:8])
    drawn = page.locator("#world .box.lane").evaluate_all("all => all.map(e => e.dataset.key)")
    assert sorted(drawn) == largest
    choose(page, "4 more heads")
    assert page.locator("#world .box.lane").count() == 12


def test_equal_layers_fold(opened: Any) -> None:
    page = opened("deep")
    page.click("#collapse")
    assert box(page, "blocks.0 … × 4").count() == 1
    assert box(page, "blocks.3").count() == 0
    choose(page, "blocks.0 … × 4")
    assert box(page, "blocks.3").count() == 1


def test_a_long_chain_is_divided_into_runs(opened: Any) -> None:
    page = opened("chain")
    runs = page.locator("#world .box.run")
    assert 5 <= runs.count() <= 60
    choose(page, "28 operations")
    assert page.locator("#world .box.op").count() == 28
    page.click("#expand")
    assert page.locator("#world [data-key]").count() <= 400


def test_a_layout_that_takes_too_long_says_so(visit: Any, pages: dict[str, Path]) -> None:
    slow = "let now = 0; performance.now = () => (now += 1000);"
    page = visit(pages["gpt"], slow)
    assert "Layout took too long" in page.locator("#graph-status").inner_text()
    assert page.locator("#world [data-key]").count() > 5


def test_parameters_are_drawn_when_asked_for(opened: Any) -> None:
    page = opened("gpt")
    assert page.locator("#world .kind-parameter").count() == 0
    page.check("#leaves")
    assert box(page, "W_o, value").count() == 1
    assert box(page, "W_q, value").count() == 0  # with those of all heads, in a group
    choose(page, "6 parameters, of all heads")
    assert box(page, "W_q, value").count() == 1
    page.click("#expand")
    assert box(page, "W_q, value").count() == 2
    assert box(page, "reshape").count() == 1  # of the logits; a reshaped weight is the weight
    assert opened("plain").locator("#world .kind-parameter").count() == 1


def test_zoom_pan_and_minimap(opened: Any) -> None:
    page = opened("gpt")
    where = lambda: page.locator("#world").get_attribute("transform")  # noqa: E731
    scale = lambda: float(re.search(r"scale\(([\d.]+)", where())[1])  # noqa: E731
    page.click("#fit")
    assert page.locator("#overview").is_hidden()  # all of it is seen
    first = scale()
    page.click("#zoom-in")
    assert scale() == pytest.approx(1.25 * first, rel=1e-3)
    page.click("#zoom-out")
    page.locator("#canvas").hover(position={"x": 300, "y": 200})
    page.mouse.wheel(0, -1500)
    page.wait_for_timeout(50)
    assert scale() > 2 * first
    assert page.locator("#overview").is_visible()
    before = where()
    page.mouse.down()
    page.mouse.move(500, 500, steps=3)
    page.mouse.up()
    assert where() != before
    before = where()
    page.locator("#minimap").click(position={"x": 75, "y": 20})
    assert where() != before


@pytest.mark.parametrize(("width", "mobile"), [(1500, False), (420, True)])
def test_two_fingers_zoom_and_one_moves(opened: Any, width: int, mobile: bool) -> None:
    size = {"width": width, "height": 900}
    page = opened("gpt", has_touch=True, is_mobile=mobile, viewport=size)
    touch = page.context.new_cdp_session(page).send
    send = lambda kind, *at: touch(  # noqa: E731
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(at)]},
    )
    matrix = lambda: page.evaluate(  # noqa: E731
        "(({a, e, f}) => [a, e, f])"
        "(document.getElementById('world').transform.baseVal.consolidate().matrix)"
    )
    start = matrix()
    send("touchStart", (200, 400), (300, 400))
    send("touchMove", (150, 400), (350, 400))
    send("touchEnd")
    pinched = matrix()
    assert pinched[0] == pytest.approx(2 * start[0], rel=0.05)
    send("touchStart", (200, 400))
    send("touchMove", (240, 460))
    send("touchEnd")
    moved = matrix()
    assert moved[0] == pinched[0]
    assert (moved[1] - pinched[1], moved[2] - pinched[2]) == pytest.approx((40, 60), abs=1)


def test_gradient_flow_is_coloured_and_marked(opened: Any) -> None:
    page = opened("flows")
    assert page.locator("#world .norm").count() == 0
    page.check("#gradients")
    words = page.locator("#world .norm").all_text_contents()
    assert any(word.startswith("▽") for word in words)
    assert any(word.startswith("▲") for word in words)
    assert "vanishing" in page.locator("#legend").inner_text()
    bad = opened("plain")
    bad.check("#gradients")
    assert "NaN" in bad.locator("#world .norm.bad").all_text_contents()
    before = opened("forward")
    before.check("#gradients")
    assert "gradient: not computed" in before.locator("#legend").inner_text()
    assert before.locator("#world .norm").count() == 0


def test_what_all_heads_share_has_the_gradient_of_all(
    opened: Any, graphs: dict[str, tm.viz.Graph]
) -> None:
    page = opened("gpt")
    page.check("#gradients")
    norms = page.evaluate(
        """() => [...document.querySelectorAll("#world > .link")].map((group) => {
            const { from, to } = group.path;
            const words = group.querySelector("title").textContent.split("\\n")[2];
            return [from.key ?? "border", to.key ?? "border", words];
        })"""
    )
    module = f"m{graphs['gpt'].heads[0].module}"
    trunk = [words for start, end, words in norms if start != "border" and end == module]
    forks = [words for start, end, words in norms if start == "border" and end.startswith("a0h")]
    assert len(trunk) == 1
    assert trunk[0].startswith("norm of the gradient ")
    assert len(forks) == 2
    lanes = graphs["gpt"].heads[0].lanes
    assert forks == [f"norm of the gradient {_three(lane.sourced[0])}" for lane in lanes]
    assert page.locator("#world .edge.together").count() == 0
    assert "not known per head" not in page.locator("#legend").inner_text()


def _three(norm: float | None) -> str:
    """Three digits, as JavaScript writes them."""
    return str(float(f"{norm:.3g}"))


def test_what_others_use_too_is_not_known_per_head(visit: Any, tmp_path: Path) -> None:
    class Reused(Own):
        def forward(self, x: tm.Tensor) -> tm.Tensor:
            keys = self.k(x)
            q, k, v = (tm.nn.functional.split_heads(y, 2) for y in (self.q(x), keys, self.v(x)))
            out = tm.nn.functional.scaled_dot_product_attention(q, k, v)
            return self.o(tm.nn.functional.merge_heads(out)) + keys

    model = Reused(8, 2)
    x = tm.randn(1, 3, 8, requires_grad=True)
    graph = tm.viz.trace((model(x) ** 2).sum(), model)
    assert graph.heads[0].proof.holds
    page = visit(graph.save(tmp_path / "g.html"))
    page.check("#gradients")
    assert page.locator("#world .edge.together").count() > 0
    assert "not known per head" in page.locator("#legend").inner_text()
    page.uncheck("#lanes")
    assert page.locator("#world .edge.together").count() == 0
    assert "not known per head" not in page.locator("#legend").inner_text()


def test_paths_pass_titles_and_higher_boxes(opened: Any) -> None:
    """No point of a path lies on the words of a frame, or in a lane that it does not touch."""
    page = opened("gpt")
    page.check("#leaves")
    bad = page.evaluate(
        """() => {
            const held = [...document.querySelectorAll("#world > .title, #world .box.lane")];
            const boxes = held.map((e) => e.getBoundingClientRect());
            return [...document.querySelectorAll("#world > .link .edge")].flatMap((path) => {
                const matrix = path.getScreenCTM(), long = path.getTotalLength();
                const hit = new Set();
                for (let at = 6; at < long - 6; at += 3) {
                    const { x, y } = path.getPointAtLength(at).matrixTransform(matrix);
                    boxes.forEach((b, k) => {
                        const across = x > b.left && x < b.right;
                        if (across && y > b.top + 2 && y < b.bottom - 2) hit.add(k);
                    });
                }
                return [...hit].map((k) => held[k].textContent);
            });
        }"""
    )
    assert bad == []


def test_a_value_used_twice_has_two_lines(opened: Any) -> None:
    page = opened("plain")
    lines = page.locator("#world .link .edge").evaluate_all(
        "all => all.map(e => e.attributes.d.value)"
    )
    assert len(set(lines)) == 3  # two of x into the product, one on to the sum
    assert len(lines) == 3


def test_values_that_are_no_numbers_are_marked(opened: Any) -> None:
    assert "NaN" in opened("plain").locator("#world .wrong").all_text_contents()


# -- the outline ----------------------------------------------------------------------------


def test_the_outline_is_a_tree(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-outline")
    assert page.locator("#graph").is_hidden()
    rows = page.locator('#outline [role="treeitem"]')
    many = rows.count()
    rows.first.focus()
    page.keyboard.press("ArrowLeft")
    assert rows.count() == 4  # GPT folded; after it the reshape, the target and the loss
    page.keyboard.press("ArrowRight")
    assert rows.count() == many
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.innerText").startswith("·")
    page.keyboard.press("Enter")
    assert page.locator("#view-details h2").inner_text() == "cross_entropy"


# -- what is chosen -------------------------------------------------------------------------


def test_an_operation_tells_all_that_is_known(opened: Any) -> None:
    page = opened("gpt")
    choose(page, "cross entropy")
    panel = page.locator("#view-details")
    words = panel.inner_text()
    for expected in ("softmax(x)[target]", "onehot(target)", "cross_entropy.py:", "mean"):
        assert expected in words, expected
    panel.locator("button.plain").first.click()
    assert page.locator("#view-details h2").inner_text() == "reshape"


def test_values_gradients_and_lines_are_shown(opened: Any) -> None:
    page = opened("flows")
    choose(page, "leaf")
    assert page.locator(".numbers").first.locator("td").all_inner_texts() == ["1", "2"]
    assert "Used 2 times: the gradients add up" in page.locator("#view-details").inner_text()
    choose(page, "+")
    words = page.locator("#view-details").inner_text()
    assert re.search(r"ran at\s+.*test_page\.py:\d+", words)
    assert re.search(r"memory\s+8 bytes", words)
    assert re.search(r"time\s+[\d.]+ [µm]?s", words)


def test_before_backward_no_gradient_is_zero(opened: Any) -> None:
    page = opened("forward")
    assert "gradient: not computed" in page.locator("#facts").inner_text()
    choose(page, "head 1, attention")
    page.locator('#world [data-key^="a0h0v"]').first.focus()
    page.keyboard.press("Enter")
    assert "gradient: not computed" in page.locator("#view-details").inner_text()
    assert "norm not computed" not in page.locator("#view-details").inner_text()
    page.click("#tab-backward")
    assert "not computed" in page.locator("#step").inner_text()
    assert page.locator("#forth").is_disabled()


def test_a_group_tells_what_it_holds(opened: Any) -> None:
    page = opened("gpt")
    box(page, "norm1").click()
    words = page.locator("#view-details").inner_text()
    assert re.search(r"class\s+LayerNorm", words)
    assert re.search(r"parameters\s+8", words)


def test_before_anything_is_chosen_all_of_it_is_told(opened: Any) -> None:
    page = opened("flows")
    words = page.locator("#view-details").inner_text()
    for expected in (r"output\s+Σ scalar", r"operations\s+4", r"parameters\s+2",
                     r"memory of all values\s+[\d.]+ bytes", r"time\s+.*s forward, .*s backward",
                     r"leaf 2\s+exploding ∇ 1410000"):  # fmt: skip
        assert re.search(expected, words), expected
    page.locator("#view-details button.plain").first.click()
    assert page.locator("#view-details h2").inner_text() == "sum"
    page = opened("forward")
    page.keyboard.press("2")
    words = page.locator("#view-details").inner_text()
    assert "gradient: not computed" in words
    assert "∇" not in words


# -- searching ------------------------------------------------------------------------------


def test_search_finds_and_goes_from_match_to_match(opened: Any) -> None:
    page = opened("gpt")
    page.keyboard.press("/")
    page.keyboard.type("op:linear layer:1 module:mlp")
    assert page.locator("#found").inner_text() == "2 found"
    assert page.locator("#world .hit").count() == 1  # the closed block around both
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "1 / 2"
    assert page.locator("#world .box.chosen").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "1 / 2"
    page.keyboard.press("Shift+Enter")
    assert page.locator("#found").inner_text() == "2 / 2"
    page.click("#next")
    assert page.locator("#found").inner_text() == "1 / 2"
    page.locator("#search").fill("no such thing")
    assert page.locator("#found").inner_text() == "nothing is called “such”"
    assert page.locator("#next").is_disabled()
    page.locator("#search").fill("")
    assert page.locator("#world .hit, #world .miss").count() == 0


def test_search_finds_heads(opened: Any) -> None:
    page = opened("gpt")
    page.locator("#search").fill("op:softmax head:2 layer:1")
    assert page.locator("#found").inner_text() == "1 found"
    assert "blocks.1.attention, head 2" in page.locator("#reading").inner_text()
    page.keyboard.press("Enter")
    assert page.locator("#world .box.chosen").get_attribute("data-key").startswith("a1h1v")


def test_a_head_that_is_not_found_changes_nothing(opened: Any) -> None:
    page = opened("gpt")
    shown = page.locator("#reading").inner_text()
    page.locator("#search").fill("head:99")
    assert page.locator("#found").inner_text() == "there is no head “99”, but 1, 2"
    assert page.locator("#reading").inner_text() == shown


def test_a_question_that_cannot_be_answered_says_why(opened: Any) -> None:
    page = opened("gpt")
    field, answer = page.locator("#search"), page.locator("#found")
    for question, why in {
        "op:sofmax": "there is no operation “sofmax”; op:masked_softmax?",
        "op:conv": "there is no operation “conv”, but ",
        "layer:7": "there is no layer “7”, but 0, 1",
        "module:atention": "there is no module “atention”; module:attention?",
        "head:first": "there is no head “first”, but 1, 2",
        "kind:softmax": "kind: is no key; there are op:, head:, layer: and module:",
        "layer:0 op:cross_entropy": "nothing fits all of it",
    }.items():
        field.fill(question)
        assert answer.inner_text().startswith(why), question
        assert field.get_attribute("aria-invalid") == "true"
        assert page.locator("#next").is_disabled()
    field.fill("layer:1 op:mask")
    offered = page.locator("#suggestions option").evaluate_all("all => all.map((o) => o.value)")
    assert offered == ["layer:1 op:masked_softmax"]
    assert field.get_attribute("aria-invalid") == "false"
    field.fill("module:mlp op:gelu")
    assert answer.inner_text() == "2 found"
    # without heads there are none to be found
    page = opened("plain")
    page.locator("#search").fill("head:1")
    assert page.locator("#found").inner_text() == "there is no head here"
