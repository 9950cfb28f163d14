# SPDX-License-Identifier: Apache-2.0
"""The compiler's log of its passes as data."""

from __future__ import annotations

from oracles.stages.passes import Dump, read

# As the plugin prints it: passes that change nothing have no After, a failed one may have a module in generic form.
LOG = """\
2026-01-02 03:04:05.678 (   1.348s) [        3B9F86C0]      module_builder.cc:1399     1| MLIR Module shlo:
#loc1 = loc("p0.1")
module @m {
  func.func @main() {
  } loc(#loc1)
} loc(#loc)
#loc = loc(unknown)
------------------ END OF MLIR MODULE ------------------
// -----// IR Dump Before Inliner (inline) ('builtin.module' operation: @m) //----- //
module @m {
}


// -----// IR Dump Before CloseShardingsPass (sdy-close-shardings) ('func.func' operation: @main) //----- //
module @m {
}


// -----// IR Dump After CloseShardingsPass (sdy-close-shardings) ('func.func' operation: @main) //----- //
module @m {
  "closed"() : () -> ()
}


2026-01-02 03:04:05.680 (   1.349s) [        3B9F86C0]      module_builder.cc:1399     1| MLIR Module shlo_compiler:
module @m {
  "closed"() : () -> ()
} loc(#loc)
------------------ END OF MLIR MODULE ------------------
"""
CONVERSION = """\
// -----// IR Dump Before ConvertTTIRToTTNN (convert-ttir-to-ttnn) ('builtin.module' operation: @m) //----- //
module @m {
}


"""
FAILURE = """\
loc("reduce.8"): error: 'ttnn.prod' op Input tensor rank is greater than 4
// -----// IR Dump After ConvertTTIRToTTNN Failed (convert-ttir-to-ttnn) ('builtin.module' operation: @m) //----- //
"""
GENERIC = """\
"builtin.module"() <{sym_name = "m"}> ({
}) : () -> ()


2026-01-02 03:04:05.699 (   1.724s) [        3B9F86C0]      module_builder.cc:971    ERR| Failed to run the pipeline
"""


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def test_the_modules_are_read_in_order_with_the_step_they_belong_to() -> None:
    log = read(lines(LOG))
    assert [(dump.name, dump.argument, dump.step) for dump in log.dumps] == [
        ("", "", "shlo"),
        ("CloseShardingsPass", "sdy-close-shardings", "shlo_compiler"),
        ("", "", "shlo_compiler"),
    ]
    assert log.failing is None
    assert log.unfinished is None


def test_a_module_is_kept_whole_and_without_its_markers() -> None:
    shlo, closed, _ = read(lines(LOG)).dumps
    assert shlo.text.startswith('#loc1 = loc("p0.1")\nmodule @m {\n')
    assert shlo.text.endswith("} loc(#loc)\n#loc = loc(unknown)\n")
    assert closed.text == 'module @m {\n  "closed"() : () -> ()\n}\n'


def test_the_failing_pass_is_found_and_its_step_is_the_next_one() -> None:
    failing = read(lines(LOG + CONVERSION + FAILURE + GENERIC)).failing
    assert failing == Dump(
        "ConvertTTIRToTTNN",
        "convert-ttir-to-ttnn",
        "shlo_set_mesh_attr",
        '"builtin.module"() <{sym_name = "m"}> ({\n}) : () -> ()\n',
        failed=True,
    )


def test_of_nested_failing_passes_the_inner_one_is_named() -> None:
    outer = FAILURE.replace("ConvertTTIRToTTNN", "Outer")
    failing = read(lines(CONVERSION + FAILURE + GENERIC + outer)).failing
    assert failing is not None
    assert failing.name == "ConvertTTIRToTTNN"


def test_a_process_that_dies_while_it_prints_the_failed_module_has_named_the_pass() -> None:
    failing = read(lines(LOG + CONVERSION + FAILURE)).failing
    assert failing is not None
    assert (failing.name, failing.text) == ("ConvertTTIRToTTNN", "")


def test_the_pass_in_which_a_process_died_is_the_one_it_began_last() -> None:
    log = read(lines(LOG + CONVERSION))
    assert log.failing is None
    assert log.unfinished is not None
    assert str(log.unfinished) == "ConvertTTIRToTTNN (convert-ttir-to-ttnn)"
    assert log.unfinished.step == "shlo_set_mesh_attr"


def test_a_log_cut_off_inside_a_module_is_no_error() -> None:
    log = read(lines(LOG + CONVERSION.partition("}")[0]))
    assert len(log.dumps) == 3
    assert log.unfinished is not None
    assert log.unfinished.text == "module @m {\n"


def test_a_log_without_passes_is_empty() -> None:
    log = read(["something else\n"])
    assert (log.dumps, log.unfinished) == ((), None)


def test_the_compiler_s_first_error_is_kept_and_belongs_to_no_module() -> None:
    log = read(lines(LOG + CONVERSION + FAILURE + GENERIC + "error: and another\n"))
    assert log.error == "'ttnn.prod' op Input tensor rank is greater than 4"
    assert not any("error" in dump.text for dump in log.dumps)
    assert read(lines(LOG)).error == ""
