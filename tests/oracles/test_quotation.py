# SPDX-License-Identifier: Apache-2.0
"""What is quoted of a module: the lines a maintainer needs, as the compiler printed them."""

from __future__ import annotations

from oracles.quotation import LINES, WIDTH, Quote, changed, named

WHOLE = """
module @IrToHlo.22 attributes {mhlo.num_partitions = 2 : i32} {
  sdy.mesh @mesh = <["y_aux"=1, "y"=2]>
  func.func @main(%arg0: tensor<1xi64> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) -> tensor<1x2xi64> {
    %0 = sdy.manual_computation(%arg0) out_shardings=[<@mesh, [{}, {"y"}]>] manual_axes={} (%arg1: tensor<1xi64>) {
      %c = stablehlo.constant dense<0> : tensor<1x1xi64> loc("constant.3")
      %c_0 = stablehlo.constant {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"y"}]>]>} dense<0> : tensor<1x2xi64>
      %1 = "stablehlo.scatter"(%c_0, %arg1, %c) <{scatter_dimension_numbers = #stablehlo.scatter<dim = 2>}> ({
      ^bb0(%arg2: tensor<i64>, %arg3: tensor<i64>):
        stablehlo.return %arg3 : tensor<i64>
      }) {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"y"}]>]>} : (tensor<1x2xi64>) -> tensor<1x2xi64> loc(#loc7)
      sdy.return %1 : tensor<1x2xi64>
    } : (tensor<1xi64>) -> tensor<1x2xi64>
    return %0 : tensor<1x2xi64>
  }
}
"""
LOCAL = """
module @IrToHlo.22 attributes {mhlo.num_partitions = 2 : i32} {
  sdy.mesh @mesh = <["y_aux"=1, "y"=2]>
  func.func @main(%arg0: tensor<1xi64>) -> tensor<1x2xi64> {
    %0 = sdy.manual_computation(%arg0) out_shardings=[<@mesh, [{}, {"y"}]>] manual_axes={"y"} (%arg1: tensor<1xi64>) {
      %c = stablehlo.constant dense<0> : tensor<1x1xi64>
      %c_7 = stablehlo.constant dense<0> : tensor<1x1xi64>
      %1 = "stablehlo.scatter"(%c_7, %arg1, %c) <{scatter_dimension_numbers = #stablehlo.scatter<dim = 2>}> ({
      ^bb0(%arg2: tensor<i64>, %arg3: tensor<i64>):
        stablehlo.return %arg3 : tensor<i64>
      }) : (tensor<1x1xi64>) -> tensor<1x1xi64>
      sdy.return %1 : tensor<1x1xi64>
    } : (tensor<1xi64>) -> tensor<1x2xi64>
    return %0 : tensor<1x2xi64>
  }
}
"""


def body(*lines: str) -> str:
    return "\n".join(("module {", "func.func @main(%arg0: tensor<2xf32>) {", *lines, "}", "}"))


def test_a_pass_is_quoted_with_what_it_wrote_and_what_stood_there() -> None:
    quote = changed(WHOLE, LOCAL)
    assert quote.replaced == (
        '%c_0 = stablehlo.constant {sdy.sharding = [{"y"}]} dense<0> : tensor<1x2xi64>',
        '%1 = "stablehlo.scatter"(%c_0, %arg1, %c) <{scatter<dim = 2>}> ({ return }) '
        '{sdy.sharding = [{"y"}]} : (tensor<1x2xi64>) -> tensor<1x2xi64>',
    )
    assert [line.partition(" : ")[2] for line in quote.wrote] == [
        "tensor<1x1xi64>",
        "(tensor<1x1xi64>) -> tensor<1x1xi64>",
    ]


def test_names_of_values_and_annotations_are_no_change() -> None:
    renamed = LOCAL.replace("%c_7", "%c_9").replace(
        "%arg1, %c)", '%arg1, %c) {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"y"}]>]>}'
    )
    assert changed(LOCAL, renamed) == Quote()


def test_the_line_that_stands_in_the_finished_stage_is_whole_as_it_was_printed() -> None:
    stands = "}) : (tensor<1x1xi64>) -> tensor<1x1xi64>"
    assert changed(WHOLE, LOCAL, LOCAL).stands == stands
    assert changed(WHOLE, LOCAL, WHOLE).stands == ""


def test_an_op_that_another_dialect_only_spells_differently_is_not_what_went_wrong() -> None:
    before = body(
        "%c = stablehlo.constant dense<1> : tensor<1xi32>",
        "%0 = stablehlo.scatter %arg0, %c : tensor<2xf32>",
    )
    after = body(
        '%0 = "ttir.constant"() <{value = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>',
        '"ttir.fill_cache"(%arg0, %0) <{batch_offset = 1 : i32, at = [0 : i32, 1 : i32]}> : (tensor<2xf32>) -> ()',
    )
    quote = changed(before, after, after)
    assert quote.replaced == ("%0 = stablehlo.scatter %arg0, %c : tensor<2xf32>",)
    assert quote.wrote == ('"ttir.fill_cache"(%arg0, %0) <{batch_offset = 1, at = [0, 1]}> : (tensor<2xf32>) -> ()',)
    assert quote.stands.startswith('"ttir.fill_cache"(%arg0, %0) <{batch_offset = 1 : i32, at = [0 : i32, 1 : i32]}>')


def test_a_translation_is_quoted_if_the_pass_did_nothing_else() -> None:
    before = body("%0 = stablehlo.constant dense<1> : tensor<1xi32>")
    after = body('%0 = "ttir.constant"() <{value = dense<2> : tensor<1xi32>}> : () -> tensor<1xi32>')
    assert len(changed(before, after).wrote) == 1


def test_helper_functions_are_left_out() -> None:
    helper = "func.func private @all_slice(%arg0: tensor<2xf32>) {\n%0 = stablehlo.slice %arg0 : tensor<1xf32>\n}\n"
    assert changed(f"module {{\n{helper}}}", "module {\n}") == Quote()


def test_a_region_without_quotes_around_its_op_belongs_to_the_op_before_it() -> None:
    reduce = body(
        "%1 = stablehlo.reduce(%arg0 init: %c) across dimensions = [0] : (tensor<2xf32>) -> tensor<f32>",
        "reducer(%arg1: tensor<f32>, %arg2: tensor<f32>) {",
        "%5 = stablehlo.minimum %arg1, %arg2 : tensor<f32>",
        "stablehlo.return %5 : tensor<f32>",
        "}",
    )
    (line,) = changed(body(), reduce).wrote
    assert line.startswith("%1 = stablehlo.reduce(%arg0 init: %c)")
    assert line.endswith("{ minimum }")


def test_a_long_quote_keeps_its_telling_ops_and_the_ends_of_their_lines() -> None:
    plain = [f"%{n} = stablehlo.reshape %arg0 : (tensor<2xf32>) -> tensor<{n}x2xf32>" for n in range(20)]
    attributes = ", ".join(f"numbers_{n} = [{n}, {n}]" for n in range(40))
    telling = f'%99 = "stablehlo.gather"(%arg0) <{{{attributes}}}> : (tensor<2xf32>) -> tensor<7xf32>'
    quote = changed(body(), body(telling, *plain))
    assert len(quote.wrote) == LINES
    assert quote.wrote[0].startswith('%99 = "stablehlo.gather"(%arg0) <{numbers_0')
    assert "…" in quote.wrote[0]
    assert quote.wrote[0].endswith("-> tensor<7xf32>")
    assert max(map(len, quote.wrote)) <= WIDTH


FAILED = """
"builtin.module"() <{sym_name = "IrToHlo.13"}> ({
  "func.func"() <{sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1xi64>):
    %0 = "stablehlo.constant"() <{value = dense<1> : tensor<1xi64>}> : () -> tensor<1xi64>
    %1 = "stablehlo.gather"(%arg0, %0) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
    %2 = "stablehlo.abs"(%arg0) : (tensor<1xi64>) -> tensor<1xi64>
    %3 = "sdy.all_reduce"(%1) <{reduction_axes = #sdy<axis_ref_list{"y"}>}> : (tensor<1xi64>) -> tensor<1xi64>
    "func.return"(%3) : (tensor<1xi64>) -> ()
  }) : () -> ()
}) : () -> ()
"""


def test_an_error_is_quoted_with_the_op_it_names_and_what_that_reads() -> None:
    quote = named("'sdy.all_reduce' op reduction axis \"y\" overlaps", ["Segmentation fault", FAILED])
    assert [line.split('"')[1] for line in quote.wrote] == ["stablehlo.gather", "sdy.all_reduce"]
    assert quote.replaced == ()


def test_an_error_that_names_no_op_is_not_quoted() -> None:
    assert named("Failed to parse output sharding", [FAILED]) == Quote()
    assert named("'ttir.prod' op is unhappy", [FAILED]) == Quote()
