"""The film of a training: what it keeps, what it leaves alone, and its page in a real browser."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import browser as browsers
from tests.viz.test_pictures import HOSTILE
from tinygrad_mha.nn import analysis
from tinygrad_mha.viz.maps import WEIGHTS
from tinygrad_mha.viz.theme import THEMES, viridis

X = [1, 2, 3, 4, 1, 2]
Y = [2, 3, 4, 1, 2, 3]


def model(**options: Any) -> Any:
    tm.manual_seed(0)
    sizes = {"embed_dim": 8, "num_heads": 2, "num_layers": 2, **options}
    return tm.nn.GPT(9, 8, **sizes)


def trained(gpt: Any, steps: int, film: Any = None) -> Any:
    optimizer = tm.optim.AdamW(gpt.parameters(), 1e-2)
    for _ in range(steps):
        loss = tm.cross_entropy(gpt(tm.tensor([X])).reshape(-1, 9), tm.tensor(Y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if film is not None:
            film(loss)
    return film


def test_a_frame_holds_the_weights_of_its_moment() -> None:
    gpt = model()
    film = trained(gpt, 6, tm.viz.Film(gpt, X, every=3))
    assert [frame.step for frame in film.frames] == [0, 3, 6]
    assert [(layer.path, layer.heads) for layer in film.layers] == [
        ("blocks.0.attention", 2),
        ("blocks.1.attention", 2),
    ]
    _, weights = gpt(tm.tensor([X]), need_weights=True)
    last = film.frames[-1]
    for layer in range(2):
        np.testing.assert_allclose(
            (last.maps[layer] / 255.0) ** 2, weights[layer].data[0], atol=5e-3
        )
        np.testing.assert_allclose(
            last.measures["entropy"][layer], analysis.entropy(weights[layer]), atol=1e-5
        )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_training_does_not_notice(dropout: float) -> None:
    plain, filmed = model(dropout=dropout), model(dropout=dropout)
    tm.manual_seed(7)
    trained(plain, 5)
    film = tm.viz.Film(filmed, X, every=1)
    tm.manual_seed(7)
    trained(filmed, 5, film)
    for (name, a), b in zip(plain.named_parameters(), filmed.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data, err_msg=name)
    assert all(module.training for module in filmed.modules())


def test_memory_is_bounded() -> None:
    gpt = model(num_layers=1)
    film = tm.viz.Film(gpt, X, every=1, most=5)
    for _ in range(40):
        film(1.0)
        assert len(film.frames) <= 5
    steps = [frame.step for frame in film.frames]
    assert steps[0] == 0
    assert len(set(np.diff(steps))) == 1  # still evenly spread
    for _ in range(2600):
        film(2.0)
    losses = json.loads(film.to_json())["losses"]
    assert len(losses) <= 1000
    assert losses[0][1] == 1.0
    assert losses[-1] == [pytest.approx(2640, abs=4), 2.0]
    assert len(losses) > 400


def test_long_sequences_are_pooled() -> None:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 200, embed_dim=8, num_heads=2, num_layers=1)
    film = tm.viz.Film(gpt, np.arange(200) % 9)
    assert film.frames[0].maps[0].shape == (2, 50, 50)
    assert film.layers[0].pooled == 4


def test_further_measures_and_other_ways_to_call() -> None:
    mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 4, 8)
    film = tm.viz.Film(
        mha,
        run=lambda: mha(x, is_causal=True, need_weights=True),
        measures={"distance": analysis.distance},
        title="mine",
    )
    _, weights = mha(x, is_causal=True, need_weights=True)
    np.testing.assert_allclose(
        film.frames[0].measures["distance"][0], analysis.distance(weights), rtol=1e-5
    )
    content = json.loads(film.to_json())
    visible = np.frombuffer(base64.b64decode(content["visible"]), np.uint8).reshape(2, 4, 4)
    np.testing.assert_array_equal(visible[0], np.tril(np.ones((4, 4))))


def test_saving_takes_the_last_step_and_repeats(tmp_path: Path) -> None:
    gpt = model()
    film = trained(gpt, 4, tm.viz.Film(gpt, X, every=3))
    first = film.save(tmp_path / "a.html").read_bytes()
    assert [frame.step for frame in film.frames] == [0, 3, 4]
    assert film.save(tmp_path / "b.html").read_bytes() == first
    assert json.loads(film.save(tmp_path / "c.json").read_text())["steps"] == [0, 3, 4]
    with pytest.raises(ValueError, match=r"d\.gif"):
        film.save(tmp_path / "d.gif")


def test_what_cannot_be_filmed_says_so() -> None:
    linear, mha = tm.nn.Linear(4, 4), tm.nn.MultiHeadAttention(8, 2)
    x = tm.randn(1, 3, 8)
    with pytest.raises(ValueError, match="no heads in the Linear"):
        tm.viz.Film(linear, tm.randn(2, 4))
    with pytest.raises(ValueError, match="inputs, or run"):
        tm.viz.Film(mha)
    with pytest.raises(ValueError, match="every is 0"):
        tm.viz.Film(mha, x, every=0)
    with pytest.raises(ValueError, match="number per head"):
        tm.viz.Film(mha, x, measures={"odd": lambda weights: 1.0})
    with pytest.raises(ValueError, match="no graph"):
        tm.viz.Film(mha, run=lambda: None)
    heads = tm.nn.functional.split_heads(mha.W_q, 2)
    with pytest.raises(ValueError, match="without a softmax"):
        tm.viz.Film(mha, run=lambda: tm.nn.functional.merge_heads(heads))
    lengths = iter((3, 4))
    film = tm.viz.Film(mha, run=lambda: mha(tm.randn(1, next(lengths), 8)), every=1)
    with pytest.raises(ValueError, match="same input"):
        film()


# -- the page ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    gpt = model()
    tokens = ["The", " ", "</script>", "\u202esat", "\ud800", "x" * 10_000]
    film = trained(gpt, 12, tm.viz.Film(gpt, X, tokens=tokens, every=2, title="<b>title</b>"))
    many = model(embed_dim=32, num_heads=16, num_layers=4)
    return {
        "film": film.save(folder / "film.html"),
        "many": tm.viz.Film(many, X).save(folder / "many.html"),
    }


@pytest.mark.parametrize("name", ["film", "many"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_opens_offline_in_any_size_and_colour(
    browser: Any, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    with browsers.opened(browser, pages[name], color_scheme=scheme, viewport=size) as page:
        assert page.locator(".head").count() == {"film": 4, "many": 64}[name]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.evaluate("go(0)")  # every frame can be drawn
        # what is painted is what the data say: the first query sees itself alone
        assert page.evaluate("weight(0, 1, 1, 0, 0)") == {"value": 1, "visible": True}
        assert page.evaluate("weight(0, 1, 1, 0, 1).visible") is False
        painted = "Array.from(tiles[3].canvas.getContext('2d').getImageData(0, 0, 1, 1).data)"
        assert page.evaluate(painted) == [253, 231, 37, 255]


def test_slider_keys_and_buttons_move_through_the_training(
    browser: Any, pages: dict[str, Path]
) -> None:
    with browsers.opened(browser, pages["film"]) as page:
        said = page.locator("#position")
        slider = page.get_by_role("slider", name="Step of the training")
        assert said.inner_text().startswith("step 12, loss ")
        assert slider.get_attribute("aria-valuetext") == said.inner_text()
        page.keyboard.press("Home")
        assert said.inner_text().startswith("step 0")
        page.keyboard.press("ArrowRight")
        assert said.inner_text().startswith("step 2")
        page.get_by_role("button", name="Frame forward").click()
        assert said.inner_text().startswith("step 4")
        page.get_by_role("button", name="Frame back").click()
        assert said.inner_text().startswith("step 2")
        slider.focus()
        page.keyboard.press("End")
        assert said.inner_text().startswith("step 12")
        page.keyboard.press("ArrowLeft")  # the slider's own
        assert said.inner_text().startswith("step 10")
        box = page.locator("#loss").bounding_box()
        page.mouse.click(box["x"] + 46, box["y"] + 20)
        assert said.inner_text().startswith("step 0")
        before = page.locator("#loss .cursor").get_attribute("x1")
        page.keyboard.press("End")
        assert float(page.locator("#loss .cursor").get_attribute("x1")) > float(before)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_play_runs_to_the_end_and_stops(browser: Any, pages: dict[str, Path], motion: str) -> None:
    with browsers.opened(browser, pages["film"], reduced_motion=motion) as page:
        page.clock.install(time=0)
        page.clock.pause_at(1000)
        play = page.locator("#play")
        play.click()  # at the end: from the beginning
        assert play.get_attribute("aria-pressed") == "true"
        assert page.locator("#position").inner_text().startswith("step 0")
        page.clock.run_for(1100)
        moved = int(page.evaluate("state.frame"))
        assert moved == (1 if motion == "reduce" else 6)
        page.clock.run_for(10_000)
        assert play.get_attribute("aria-pressed") == "false"
        assert page.locator("#position").inner_text().startswith("step 12")
        page.locator("#title").click()
        page.keyboard.press("Space")
        assert play.inner_text() == "❚❚ Pause"
        page.keyboard.press("Space")
        assert play.inner_text() == "▶ Play"


def test_a_head_is_chosen_by_keyboard_and_read(browser: Any, pages: dict[str, Path]) -> None:
    with browsers.opened(browser, pages["film"]) as page:
        button = page.get_by_role("button", name="Layer 2, head 1")
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator("#large-title").inner_text() == "Head 2.1, blocks.1.attention"
        box = page.locator("#large canvas").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 3)
        assert page.locator("#reading").inner_text().endswith("masked")
        page.mouse.move(box["x"] + 3, box["y"] + 3)
        assert page.locator("#reading").inner_text() == "The (0) → The (0): weight 1.000"
        chosen = page.locator("#curves svg").first.locator("text.chosen")
        assert chosen.first.text_content() == "2.1"


def test_colours_are_those_of_the_pictures_and_masked_cells_are_hatched(
    browser: Any, pages: dict[str, Path]
) -> None:
    pixels = """([frame, layer, head, row, column]) => {
      const { columns } = film.layers[layer];
      const canvas = mapCanvas(film.layers[layer], 400, {});
      paint(canvas, frame, layer, head);
      const side = canvas.width / columns.length;
      const data = canvas.getContext("2d").getImageData(column * side, row * side, side, side).data;
      const byte = (c) => c.toString(16).padStart(2, "0");
      const hex = (k) => "#" + [...data.slice(k, k + 3)].map(byte).join("");
      return [...new Set(Array.from({ length: data.length / 4 }, (_, k) => hex(4 * k)))];
    }"""
    with browsers.opened(browser, pages["film"], color_scheme="light") as page:
        assert WEIGHTS in page.locator(".legend").inner_text().replace("\n", " ")
        assert "masked" in page.locator(".legend").inner_text()
        assert page.evaluate(pixels, [0, 1, 0, 0, 0]) == [viridis(1.0)], "the first token: weight 1"
        top = page.evaluate("topOf(1, 0) / 255") ** 2
        weight = page.evaluate("weight(3, 1, 0, 2, 1).value")
        (painted,) = page.evaluate(pixels, [3, 1, 0, 2, 1])
        wanted = viridis(weight / top)
        apart = (abs(int(painted[k : k + 2], 16) - int(wanted[k : k + 2], 16)) for k in (1, 3, 5))
        assert max(apart) <= 2
        hatched = page.evaluate(pixels, [0, 1, 0, 0, 3])
        assert len(hatched) == 2, "two colours: hatched"
        assert THEMES["light"].masked in hatched


def test_names_are_shown_as_text(browser: Any, pages: dict[str, Path]) -> None:
    with browsers.opened(browser, pages["film"]) as page:
        assert page.locator("#title").inner_text() == "<b>title</b>"
        labels = page.locator("#large .keys span").all_text_contents()
        assert labels[1:3] == ["␣", "</script>"]
        assert labels[3].startswith("⟨202e⟩")
        assert "⟨d800⟩" in labels[4]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_stay_in_the_data(name: str) -> None:
    holder = tm.nn.Module()
    setattr(holder, name or "empty", tm.nn.MultiHeadAttention(8, 2))
    (inner,) = holder.children()
    film = tm.viz.Film(
        holder,
        run=lambda: inner(tm.randn(1, 2, 8)),
        tokens=[name, name],
        title=name,
        measures={name: lambda weights: [0.5, 0.5]},
    )
    page = film.to_html()
    page.encode("utf-8")
    assert page.count("</script>") == 3  # the data's, and the two programs' own


def test_in_a_notebook(browser: Any, tmp_path: Path) -> None:
    gpt = model()
    film = trained(gpt, 4, tm.viz.Film(gpt, X, every=2))
    notebook = tmp_path / "cell.html"
    notebook.write_text(
        "<!doctype html><meta charset='utf-8'><style>b { color: red; display: none }</style>"
        f"<div style='width:700px'>{film._repr_html_()}</div>",
        "utf-8",
    )
    with browsers.opened(browser, notebook) as page:
        frame = page.frame_locator("iframe")
        frame.locator("#slider").wait_for()
        assert page.locator("iframe").bounding_box()["width"] == 700
        assert frame.locator(".head b").first.is_visible()  # the notebook's styles stay outside
        frame.locator("#back").click()
        assert frame.locator("#position").inner_text().startswith("step 2")


def test_a_film_of_an_item_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="Film: batch is 1; there are 1 items"):
        tm.viz.Film(model(), X, batch=1)
