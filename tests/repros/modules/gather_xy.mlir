module @IrToHlo.9 attributes {mhlo.cross_program_prefetches = [], mhlo.input_output_alias = [], mhlo.is_dynamic = false, mhlo.num_partitions = 4 : i32, mhlo.num_replicas = 1 : i32, mhlo.use_auto_spmd_partitioning = false} {
  sdy.mesh @mesh = <["x"=2, "y"=2]>
  func.func @main(%arg0: tensor<8x8xi64> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}]>}, %arg1: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}]>}) -> tensor<8x8xf32> {
    %0 = stablehlo.iota dim = 0 : tensor<8xui32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<8xui32>) -> tensor<8x8x1xui32>
    %2 = stablehlo.convert %arg0 : (tensor<8x8xi64>) -> tensor<8x8xui32>
    %3 = stablehlo.reshape %2 : (tensor<8x8xui32>) -> tensor<8x8x1xui32>
    %4 = stablehlo.concatenate %1, %3, dim = 2 : (tensor<8x8x1xui32>, tensor<8x8x1xui32>) -> tensor<8x8x2xui32>
    %5 = "stablehlo.gather"(%arg1, %4) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0, 1], start_index_map = [0, 1], index_vector_dim = 2>, slice_sizes = array<i64: 1, 1>}> : (tensor<8x8xf32>, tensor<8x8x2xui32>) -> tensor<8x8xf32>
    return %5 : tensor<8x8xf32>
  }
}
