"""Deployment folders opened to be used: limits, labels, padding; on graphs that give back what they are fed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sparsify.errors import InputError
from sparsify.export.deployed import Deployment

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
CONFIG = {"max_position_embeddings": 40, "pad_token_id": 7, "id2label": {"1": "b", "0": "a", "10": "c", "2": 3}}


def deployment(
    folder: Path,
    facts: dict[str, str] | None = None,
    config: Any = CONFIG,
    shape: tuple[Any, Any] = ("batch", "length"),
    inputs: tuple[str, ...] = INPUTS,
) -> Path:
    """A folder whose graph gives each input back as ``NAME_out``."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [helper.make_node("Cast", [name], [f"{name}_out"], to=TensorProto.FLOAT) for name in inputs]
    fed = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in inputs]
    given = [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape) for name in inputs]
    graph = helper.make_graph(nodes, "echo", fed, given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, facts or {})
    onnx.save(model, folder / "model.onnx")
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CONFIG.items() if key != name}


class TestOutputs:
    def fed(self, folder: Path, ids: list[list[int]], segments: Any = None, inputs: tuple[str, ...] = INPUTS) -> Any:
        return [o.tolist() for o in Deployment(folder).outputs([f"{name}_out" for name in inputs], ids, segments)]

    def test_rows_are_padded_to_the_longest(self, tmp_path: Path) -> None:
        ids, mask, types = self.fed(deployment(tmp_path), [[1, 2, 3], [4]])
        assert ids == [[1, 2, 3], [4, 7, 7]]
        assert mask == [[1, 1, 1], [1, 0, 0]]
        assert types == [[0, 0, 0], [0, 0, 0]]

    def test_segments_go_with_their_rows(self, tmp_path: Path) -> None:
        assert self.fed(deployment(tmp_path), [[1, 2], [3]], [[0, 1], [1]])[2] == [[0, 1], [1, 0]]

    def test_a_fixed_shape_is_filled_and_its_empty_rows_are_not_given(self, tmp_path: Path) -> None:
        folder = deployment(tmp_path, shape=(3, 4))
        assert self.fed(folder, [[1, 2]]) == [[[1, 2, 7, 7]], [[1, 1, 0, 0]], [[0, 0, 0, 0]]]
        opened = Deployment(folder)
        session, seen = opened._session, []

        class Watched:
            def run(self, names: Any, inputs: dict[str, Any]) -> Any:
                seen.append(inputs["attention_mask"])
                return session.run(names, inputs)

        opened._session = Watched()
        opened.outputs(["input_ids_out"], [[1, 2]])
        assert seen[0][:, 0].tolist() == [1, 1, 1]  # a softmax over nothing would be NaN

    @pytest.mark.parametrize("pad", [None, "x", [1]])
    def test_padding_is_0_where_the_config_names_none(self, pad: Any, tmp_path: Path) -> None:
        assert self.fed(deployment(tmp_path, config=CONFIG | {"pad_token_id": pad}), [[1, 2], [3]])[0][1] == [3, 0]

    def test_only_the_graphs_inputs_are_fed(self, tmp_path: Path) -> None:
        folder = deployment(tmp_path, inputs=INPUTS[:1])
        assert self.fed(folder, [[1, 2]], inputs=INPUTS[:1]) == [[[1, 2]]]
        assert Deployment(folder).outputs(["input_ids_out"], [[1]])[0].dtype == np.float32


class TestLimits:
    @pytest.mark.parametrize(
        ("facts", "config", "shape", "limit"),
        [
            ({"max_length": "24"}, CONFIG, ("b", "s"), 24),
            ({}, CONFIG, ("b", "s"), 40),
            ({"max_length": ""}, CONFIG, ("b", "s"), 40),
            ({}, without("max_position_embeddings"), ("b", "s"), 512),
            ({}, CONFIG | {"max_position_embeddings": -1}, ("b", "s"), 512),
            ({}, CONFIG | {"max_position_embeddings": "x"}, ("b", "s"), 512),
            ({}, {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, ("b", "s"), 512),
            ({}, {"model_type": "xlm-roberta", "max_position_embeddings": 514}, ("b", "s"), 512),
            ({"max_length": "24"}, CONFIG, ("b", 16), 16),
            ({"max_length": "24"}, CONFIG, ("b", 64), 24),
        ],
    )
    def test_of_length(
        self, facts: dict[str, str], config: Any, shape: tuple[Any, Any], limit: int, tmp_path: Path
    ) -> None:
        assert Deployment(deployment(tmp_path, facts, config, shape)).max_length == limit

    @pytest.mark.parametrize(("stated", "limit"), [(30, 30), (int(1e30), 40), (99, 40), (None, 40)])
    def test_a_tokenizers_word_counts_where_the_file_has_none(self, stated: int, limit: int, tmp_path: Path) -> None:
        folder = deployment(tmp_path)
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": stated}))
        assert Deployment(folder).max_length == limit

    @pytest.mark.parametrize("stated", ["x", "0", "-3", "512.0"])
    def test_a_length_that_is_none(self, stated: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=rf"model\.onnx: its max_length is '{stated}'"):
            Deployment(deployment(tmp_path, {"max_length": stated}))

    def test_of_the_batch(self, tmp_path: Path) -> None:
        folder = deployment(tmp_path / "any")
        assert Deployment(folder).size == 8
        assert Deployment(folder, batch_size=3).size == 3
        assert Deployment(deployment(tmp_path / "fixed", shape=(2, "s")), batch_size=3).size == 2
        with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
            Deployment(folder, batch_size=0)

    def test_an_input_that_no_text_gives(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"model\.onnx: wants the input 'position_ids'"):
            Deployment(deployment(tmp_path, inputs=(*INPUTS, "position_ids")))


class TestLabels:
    def test_the_files_own_come_first(self, tmp_path: Path) -> None:
        assert Deployment(deployment(tmp_path, {"labels": '["x", 1]'})).labels == ["x", "1"]

    def test_else_the_configs_by_number(self, tmp_path: Path) -> None:
        assert Deployment(deployment(tmp_path)).labels == ["a", "b", "3", "c"]

    @pytest.mark.parametrize("text", ["x", "{}", "3", "null", '"abc"'])
    def test_a_list_that_is_none(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"model\.onnx: its labels are .*, no list of names: export it again"):
            _ = Deployment(deployment(tmp_path, {"labels": text})).labels

    @pytest.mark.parametrize("names", [["a", "b"], ["0"], {"x": "y"}, "s", 3])
    def test_a_table_that_is_none(self, names: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"config\.json: id2label is no table of names by number"):
            _ = Deployment(deployment(tmp_path, config=CONFIG | {"id2label": names})).labels

    @pytest.mark.parametrize("config", [without("id2label"), CONFIG | {"id2label": None}])
    def test_none_at_all(self, config: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=rf"^{tmp_path}: the deployment names no labels"):
            _ = Deployment(deployment(tmp_path, config=config)).labels


class TestFolders:
    def test_an_open_one_stays_open(self, tmp_path: Path) -> None:
        opened = Deployment(deployment(tmp_path))
        assert Deployment.of(opened) is opened
        assert Deployment.of(tmp_path, batch_size=5).size == 5

    def test_the_task(self, tmp_path: Path) -> None:
        old = Deployment(deployment(tmp_path / "old"))
        assert old.task == "token_classification"
        old.expect("token_classification", "entities")
        other = Deployment(deployment(tmp_path / "new", {"task": "text_classification"}))
        with pytest.raises(InputError, match="is a text_classification model; entities need a token classification mo"):
            other.expect("token_classification", "entities")

    @pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000])
    def test_a_config_that_is_none(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"config\.json: (cannot be read|must hold a JSON object)"):
            Deployment(deployment(tmp_path, config=text))

    def test_without_graph_the_nearest_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none: no such deployment folder\. sparsify-export"):
            Deployment(tmp_path / "none")
        with pytest.raises(InputError, match=r"holds no model\.onnx; a deployment folder is what"):
            Deployment(tmp_path)
        shutil.move(deployment(tmp_path / "made"), tmp_path / "deployment")
        with pytest.raises(InputError, match=rf"did you mean {tmp_path / 'deployment'}\?"):
            Deployment(tmp_path)
